/**
 * Loaded into worker and process host of a rehearsal before their own code (`--import`): tells of each record that
 * they have written, in the order in which they did, and stops the process at the one that it is asked to, so that a
 * fault can be placed at a record. The product itself knows nothing of it: what is rehearsed is what runs.
 *
 * `ADIT_REHEARSAL_JOURNAL` is the file that gets a line for each record; `ADIT_REHEARSAL_STOPS` is one with the
 * boundaries to stop at, a line each. Both are read again at every record: they begin anew with every run, and the
 * processes go on.
 */
import fs, { existsSync, readFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const journal = process.env['ADIT_REHEARSAL_JOURNAL'];
const stopsFile = process.env['ADIT_REHEARSAL_STOPS'];

interface Written {
  readonly record: string;
  readonly path: string;
}

if (journal !== undefined && stopsFile !== undefined) watch(journal, stopsFile);

function watch(file: string, fileOfStops: string): void {
  const { rename, link } = fs.promises;
  const { appendFileSync: append, renameSync } = fs;
  const written = (name: unknown, text?: unknown): void => {
    const found = typeof name === 'string' ? recordOf(name, text) : null;
    if (found === null) return;
    const key = `${found.record}:${found.path}`;
    const number = linesOf(file).filter((line) => keyOf(line) === key).length + 1;
    const stopped = linesOf(fileOfStops).includes(`record:${key}:${number}`);
    const line = { atMs: Date.now(), event: 'record', ...found, number, pid: process.pid, stopped };
    append(file, `${JSON.stringify(line)}\n`);
    // Until somebody says CONT, or KILL: nothing else of this process happens in between.
    if (stopped) process.kill(process.pid, 'SIGSTOP');
  };
  const changed = {
    promises: {
      rename: async (...[from, to]: Parameters<typeof rename>): Promise<void> => {
        await rename(from, to);
        written(to);
      },
      link: async (...[from, to]: Parameters<typeof link>): Promise<void> => {
        await link(from, to);
        written(to);
      },
    },
    renameSync: (...[from, to]: Parameters<typeof renameSync>): void => {
      renameSync(from, to);
      written(to);
    },
    appendFileSync: (...[to, text, options]: Parameters<typeof append>): void => {
      append(to, text, options);
      written(to, text);
    },
  };
  Object.assign(fs.promises, changed.promises);
  Object.assign(fs, { renameSync: changed.renameSync, appendFileSync: changed.appendFileSync });
  syncBuiltinESMExports();
}

/** Whole lines only: another process may be writing one. */
function linesOf(file: string): string[] {
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
}

function keyOf(line: string): string {
  const { record, path } = JSON.parse(line) as Written;
  return `${record}:${path}`;
}

/**
 * What has just been written there, `text` where it was appended; null for what is no boundary. The names are those of
 * evidence and host.
 */
function recordOf(file: string, text: unknown): Written | null {
  const effect = /^(.*\/effects\/[^/]+\/[0-9a-f]{32})(\.try-\d+)?\.json$/.exec(file);
  if (effect !== null) {
    const path = read(`${effect[1]}.json`)?.['stepPath'];
    if (typeof path !== 'string') return null;
    return { record: effect[2] === undefined ? 'effect' : 'try', path };
  }
  if (/\/runs\/[^/]+\/steps\.jsonl$/.test(file)) {
    const step = JSON.parse(String(text)) as { readonly [name: string]: unknown };
    const { path, status } = step;
    // A step that runs long is recorded while it runs, as often as it takes: that is no event of the run.
    if (typeof path !== 'string' || (status !== 'succeeded' && status !== 'failed')) return null;
    return { record: 'ended', path };
  }
  const program = /\/runs\/[^/]+\/processes\/([^/]+)\/\d+\/owner\.json$/.exec(file);
  if (program?.[1] === undefined) return null;
  return { record: 'program', path: program[1].replaceAll('@', '/').replaceAll('.', '#') };
}

function read(file: string): { readonly [name: string]: unknown } | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as { readonly [name: string]: unknown };
  } catch {
    return null;
  }
}
