/** A program that tells on itself (witness.sh): its command line, its journal, and who of it is alive. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { programFiles } from '../../host/program-files.js';
import { readIndex } from '../../host/program-index.js';

const WITNESS = fileURLToPath(new URL('witness.sh', import.meta.url));
const run = promisify(execFile);

export interface WitnessOptions {
  readonly folder: string;
  /** Of the host that runs it; absent: `state` in the folder. */
  readonly stateDir?: string;
  readonly name?: string;
  readonly lines?: number;
  readonly everyMs?: number;
  /** Something in every line, so that no other program's output can be taken for this one's. */
  readonly salt: string;
  readonly traits?: readonly string[];
}

export interface JournalEntry {
  readonly event: 'start' | 'overlap' | 'term' | 'end';
  /** In the program's own pid namespace. */
  readonly pid: number;
  readonly note: string;
}

export interface Witness {
  readonly journal: string;
  readonly lines: number;
  readonly argv: readonly string[];
  /** The same for `/bin/sh -c`. */
  readonly command: string;
  /** What an undisturbed start prints that begins after `line`. */
  output(afterLine?: number): string;
  entries(): Promise<JournalEntry[]>;
  count(event: JournalEntry['event']): Promise<number>;
  /** Everything that belongs to it and lives, its shim first. */
  processes(): Promise<number[]>;
  /** The program itself, without shim and children; undefined when it does not live. */
  program(): Promise<number | undefined>;
  /** True when nobody holds one of its locks. */
  isUnlocked(): Promise<boolean>;
}

export function createWitness(options: WitnessOptions): Witness {
  const { salt, lines = 60, everyMs = 100, traits = [] } = options;
  const { stateDir = path.join(options.folder, 'state') } = options;
  const journal = path.join(options.folder, `${options.name ?? 'witness'}.journal`);
  const argv = ['/bin/sh', WITNESS, journal, String(lines), String(everyMs / 1_000), salt];
  argv.push(...traits);
  const entries = async (): Promise<JournalEntry[]> => {
    const text = await readFile(journal, 'utf8').catch(() => '');
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [event, pid, note = ''] = line.split(' ');
        return { event: event as JournalEntry['event'], pid: Number(pid), note };
      });
  };
  return {
    journal,
    lines,
    argv,
    command: `exec ${argv.map((word) => `'${word}'`).join(' ')}`,
    output(afterLine = 0) {
      let text = '';
      for (let line = afterLine + 1; line <= lines; line += 1) {
        text += `line ${line} ü \u001B[1m${salt}\u001B[0m\n`;
      }
      return `${text}done`;
    },
    entries,
    count: async (event) => (await entries()).filter((entry) => entry.event === event).length,
    processes: async () => [
      ...(await shimsOf(stateDir, journal)),
      ...(await processesNaming(journal)),
    ],
    async program() {
      const pids = await processesNaming(journal);
      for (const pid of pids) {
        const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
        if (words[1] === WITNESS && (await parentOf(pid)) !== undefined) {
          const parent = await parentOf(pid);
          const above = await readFile(`/proc/${parent}/cmdline`, 'utf8').catch(() => '');
          // A subshell of the program has the program's own command line, and so has its parent.
          if (above.split('\0')[1] !== WITNESS) return pid;
        }
      }
      return undefined;
    },
    async isUnlocked() {
      const names = await readdir(options.folder);
      const locks = names.filter(
        (name) => name.startsWith(`${path.basename(journal)}.`) && name.endsWith('.lock'),
      );
      for (const lock of locks) {
        try {
          await run('flock', ['-n', path.join(options.folder, lock), 'true']);
        } catch {
          return false;
        }
      }
      return true;
    },
  };
}

/**
 * The shims of the programs that have `text` in their spec, and what contains them: their command line names only
 * their entry in the index. One without an entry was left behind, by whichever program.
 */
export async function shimsOf(stateDir: string, text: string): Promise<number[]> {
  const index = path.join(stateDir, 'host', 'programs');
  return processesWhere(async (pid) => {
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    // Its last word: a tracer may name it, too.
    const spare = words.at(-2) ?? '';
    if (path.dirname(spare) !== index || !spare.endsWith('.spare')) return false;
    if (existsSync(spare)) return false;
    const entry = readIndex(spare.replace(/spare$/, 'json'));
    if (entry === null) return true;
    const { root } = programFiles(stateDir, entry);
    return (await readFile(path.join(root, 'spec.json'), 'utf8').catch(() => '')).includes(text);
  });
}

/** Pids of the living processes that have `text` in their command line. A zombie does not live. */
export async function processesNaming(text: string): Promise<number[]> {
  return processesWhere(async (pid) =>
    (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).includes(text),
  );
}

/** Pids of the living processes that belong to a folder: by command line, environment or working directory. */
export async function processesOf(folder: string): Promise<number[]> {
  return processesWhere(async (pid) => {
    const read = (name: string): Promise<string> =>
      readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => '');
    if ((await read('cmdline')).includes(folder)) return true;
    if ((await read('environ')).includes(folder)) return true;
    return (await readlink(`/proc/${pid}/cwd`).catch(() => '')).startsWith(folder);
  });
}

async function processesWhere(belongs: (pid: number) => Promise<boolean>): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    if ((await belongs(pid)) && (await parentOf(pid)) !== undefined) found.push(pid);
  }
  return found;
}

/** Undefined when the process is gone or a zombie. */
export async function parentOf(pid: number): Promise<number | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return stat === '' || state === 'Z' || state === 'X' ? undefined : Number(parent);
}
