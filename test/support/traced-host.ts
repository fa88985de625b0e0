/**
 * The built host under strace, which kills it at, or fails, one of its calls that change a file.
 *
 * Node's asynchronous calls are made by a pool, here of one thread, and its synchronous ones by the main thread. A call
 * is named by its thread, its name, its file, and its number among those that are equal in that, as strace counts
 * them; a run without a fault lists them. Names that the host draws begin with a word that we know. What goes over a
 * socket has no file: it is numbered among all of that name in its thread, where one may come a number later.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { PACKAGE_ROOT } from './local-network.js';
import { until } from './until.js';
import { parentOf } from './witness.js';

const CALLS = [
  'write',
  'pwrite64',
  'writev',
  'pwritev',
  'fsync',
  'fdatasync',
  'ftruncate',
  'fallocate',
  'rename',
  'renameat',
  'renameat2',
  'unlink',
  'unlinkat',
  'mkdir',
  'mkdirat',
  'link',
  'linkat',
].join(',');

export type TracedThread = 'main' | 'pool';

export interface TracedCall {
  readonly thread: TracedThread | 'shim';
  readonly name: string;
  /** Relative to the state folder, with `…` for the beginning of a drawn name; null for what goes over a socket. */
  readonly file: string | null;
  /** From 1. */
  readonly number: number;
}

export interface Injection extends TracedCall {
  readonly fault: 'signal=KILL' | 'error=EIO' | 'error=ENOSPC';
}

export interface SeenCall extends TracedCall {
  /** The call and its files, without what differs between two runs. */
  readonly what: string;
}

export interface TracedHost {
  readonly pid: number;
  isAlive(): boolean;
  /** The calls that changed a file of the state folder, and the word to the shim, so far. */
  calls(): Promise<SeenCall[]>;
  /** `what` of the call that met the fault; null when none did. */
  fired(): Promise<string | null>;
  kill(): Promise<void>;
}

export function mayTrace(): boolean {
  try {
    execFileSync('strace', ['-o', '/dev/null', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** The environment in which the names that a host draws begin with `names`, a UUID's first 24 to 26 characters. */
export function drawnNames(names: string): NodeJS.ProcessEnv {
  const preload = fileURLToPath(new URL('drawn-names.cjs', import.meta.url));
  return { NODE_OPTIONS: `--require=${preload}`, ADIT_TEST_NAMES: names };
}

/**
 * Starts a host that is traced from its first own instruction on; with `injection`, only that thread is. What it draws
 * begins with `names` (see {@link drawnNames}), of which the first 24 characters are the same for all hosts of a test.
 */
export async function startTracedHost(
  stateDir: string,
  folder: string,
  injection: Injection | null,
  names: string,
): Promise<TracedHost> {
  const own = await mkdtemp(path.join(folder, 'trace-'));
  const threadsFile = path.join(own, 'threads');
  const { PATH, HOME } = process.env;
  const host = spawn(
    process.execPath,
    [
      '--require',
      fileURLToPath(new URL('stop-at-start.cjs', import.meta.url)),
      path.join(PACKAGE_ROOT, 'dist', 'host', 'main.js'),
      '--state-dir',
      stateDir,
    ],
    {
      env: {
        PATH,
        HOME,
        UV_THREADPOOL_SIZE: '1',
        ADIT_TEST_THREADS: threadsFile,
        ...drawnNames(names),
      },
      stdio: 'ignore',
      detached: true,
    },
  );
  const pid = host.pid ?? 0;
  await until(
    'the host to stop',
    async () => (await stateOf(pid)) === 'T' && existsSync(threadsFile),
  );
  const threads = JSON.parse(await readFile(threadsFile, 'utf8')) as { pool: string[] };
  if (threads.pool.length !== 1) throw new Error('The pool of the host has not one thread.');
  const ids = { main: String(pid), pool: threads.pool[0] ?? '' };
  const traces = { main: path.join(own, 'main'), pool: path.join(own, 'pool') };
  const drawn = names.slice(0, 24);
  const filesOf = (line: string): string[] => filesIn(line, stateDir, drawn);
  const describeCall = (line: string): string =>
    `${/(\w+)\(/.exec(line)?.[1] ?? ''}(${filesOf(line).join(', ')})`;
  const tracers: ChildProcess[] = [];
  if (injection === null) {
    tracers.push(await attach(['-y', '-o', traces.main, '-e', `trace=${CALLS}`, '-p', ids.main]));
    tracers.push(await attach(['-y', '-o', traces.pool, '-e', `trace=${CALLS}`, '-p', ids.pool]));
  } else {
    const { thread, name, number, fault, file } = injection;
    tracers.push(
      await attach([
        '-y',
        '-o',
        thread === 'pool' ? traces.pool : traces.main,
        ...(thread === 'shim' ? ['-f'] : []),
        ...(file === null ? [] : ['-P', path.join(stateDir, file.replace('…', drawn))]),
        '-e',
        `trace=${name}`,
        '-e',
        `inject=${name}:${fault}:when=${number}`,
        '-p',
        thread === 'pool' ? ids.pool : ids.main,
      ]),
    );
  }
  process.kill(pid, 'SIGCONT');
  const read = async (thread: TracedThread): Promise<string[]> =>
    (await readFile(traces[thread], 'utf8').catch(() => '')).split('\n');
  return {
    pid,
    isAlive: () => host.exitCode === null && host.signalCode === null,
    async calls() {
      const found: SeenCall[] = [];
      for (const thread of ['main', 'pool'] as const) {
        const counts = new Map<string, number>();
        const count = (key: string): number => {
          counts.set(key, (counts.get(key) ?? 0) + 1);
          return counts.get(key) ?? 0;
        };
        for (const line of await read(thread)) {
          const name = /^(\w+)\(/.exec(line)?.[1];
          if (name === undefined) continue;
          const ofName = count(name);
          const first = filesOf(line)[0];
          if (first === undefined) continue;
          const isSocket = first === WORD || first === OPENING;
          const number = isSocket ? ofName : count(`${name} ${first}`);
          const file = isSocket ? null : first;
          found.push({ thread, name, file, number, what: describeCall(line) });
        }
      }
      return found;
    },
    async fired() {
      for (const thread of ['main', 'pool'] as const) {
        const lines = await read(thread);
        const injected = lines.find((line) => line.includes('(INJECTED)'));
        const last = lines.findIndex((line) => line.includes('killed by SIGKILL')) - 1;
        // The host is killed at its end, too: only a call that did not come back met the fault.
        const hit =
          injected ?? (/= \?|unfinished/.test(lines[last] ?? '') ? lines[last] : undefined);
        if (hit !== undefined) return describeCall(hit);
      }
      return null;
    },
    async kill() {
      host.kill('SIGKILL');
      await until('the host to be gone', async () => (await parentOf(pid)) === undefined);
      for (const tracer of tracers) {
        await until(
          'the tracer to end',
          () => tracer.exitCode !== null || tracer.signalCode !== null,
        );
      }
    },
  };
}

const WORD = 'the word to the shim';
const OPENING = 'the opening of a shim';

/** The files of the state folder that a call names, relative to it, with `…` for `drawn`. */
function filesIn(line: string, stateDir: string, drawn: string): string[] {
  if (/<(socket|UNIX-STREAM):\S+>, "\{\\nexec /.test(line)) return [WORD];
  if (/<(socket|UNIX-STREAM):\S+>, "trap : /.test(line)) return [OPENING];
  return [...line.matchAll(/[<"](\/[^>"]*)/g)]
    .map(([, file = '']) => file)
    .filter((file) => file.startsWith(stateDir))
    .map((file) => path.relative(stateDir, file).replace(drawn, '…'));
}

async function attach(args: readonly string[]): Promise<ChildProcess> {
  const tracer = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  tracer.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await until('strace to attach', () => {
    if (tracer.exitCode !== null) throw new Error(`strace ended: ${said}`);
    return /attached/.test(said);
  });
  return tracer;
}

async function stateOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
}
