/**
 * How the processes of a program are kept together, so that all of them can be ended.
 *
 * - `pidNamespace`: the shim is pid 1 of a namespace. Nobody leaves it, and when pid 1 ends the kernel kills the
 *   rest. Nothing else is unshared but the mounts, for a /proc that shows those pids: GPU work finds its devices.
 * - `cgroup`: a folder of the cgroup v2 tree. Only who may write to other folders there leaves it.
 * - `processGroup`: the group, and a marker in the environment that finds who left it.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { access, readdir, readFile, rmdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../core/error.js';
import type { HostInfo } from '../core/host-protocol.js';

export type ContainmentLevel = HostInfo['containment'];

export interface Containment {
  readonly level: ContainmentLevel;
  /** What that means for the end of a program, for people. */
  readonly promise: string;
  /** The command line that runs `argv` (the shim) contained; `tree` names it: its marker. Spawn it detached. */
  wrap(argv: readonly string[], tree: string): string[];
  /** The cgroup that `wrap` makes for `tree`; null at the other levels. */
  cgroupOf(tree: string): string | null;
}

/** Begins the name of every cgroup of ours, so that no other is ever killed. */
export const CGROUP_PREFIX = 'adit-';

const PROMISES: { readonly [level in ContainmentLevel]: string } = {
  pidNamespace:
    'Every process of a program ends with it: a program runs in a pid namespace of its own.',
  cgroup:
    'Every process of a program ends with it, but for one that has the right to move itself to another cgroup and does.',
  processGroup:
    'Processes of a program are found by their group and by ADIT_PROCESS_ID in their environment: one that leaves the group and clears its environment may live on. Allow pid namespaces (unshare) or a writable cgroup v2 to have every process ended.',
};

/**
 * Finds the strongest level that works here, by trying it. `force` takes that one; throws HOST_UNUSABLE when it
 * does not work.
 */
export async function probeContainment({
  force,
}: {
  readonly force?: ContainmentLevel;
}): Promise<Containment> {
  const levels = force === undefined ? (['pidNamespace', 'cgroup'] as const) : [force];
  for (const level of levels) {
    const found =
      level === 'pidNamespace'
        ? await probePidNamespace()
        : level === 'cgroup'
          ? await probeCgroup()
          : processGroup();
    if (found !== null) return found;
  }
  if (force === undefined) return processGroup();
  throw new StepError('HOST_UNUSABLE', `Programs cannot be contained by ${force} here.`, {
    hint:
      force === 'pidNamespace'
        ? 'It needs unshare and setsid of util-linux, and the right to make pid namespaces (root, or user namespaces). Leave ADIT_CONTAINMENT away to take what works.'
        : 'It needs cgroup v2 with cgroup.kill, and the right to write to the cgroup of the process host. Leave ADIT_CONTAINMENT away to take what works.',
  });
}

function processGroup(): Containment {
  return {
    level: 'processGroup',
    promise: PROMISES.processGroup,
    wrap: (argv) => [...argv],
    cgroupOf: () => null,
  };
}

async function probePidNamespace(): Promise<Containment | null> {
  const [unshare, setsid] = await Promise.all([findProgram('unshare'), findProgram('setsid')]);
  if (unshare === null || setsid === null) return null;
  const prefix = [
    unshare,
    ...(process.getuid?.() === 0 ? [] : ['--user', '--map-current-user']),
    '--pid',
    '--fork',
    // Who kills the outer process ends the namespace.
    '--kill-child',
    '--mount-proc',
    // Mounts that come and go on this machine while a program runs are seen by it, and not kept by it.
    '--propagation',
    'slave',
    '--',
    // A session of its own, so that its group can be signalled at once without the outer process; and inside the
    // namespace a group from outside would be called 0.
    setsid,
  ];
  const test =
    '[ $$ = 1 ] && [ -r /proc/1/stat ] && read -r first rest </proc/self/stat && exit 42';
  if ((await statusOf([...prefix, '/bin/sh', '-c', test])) !== 42) return null;
  return {
    level: 'pidNamespace',
    promise: PROMISES.pidNamespace,
    wrap: (argv) => [...prefix, ...argv],
    cgroupOf: () => null,
  };
}

/** Makes the cgroup, goes into it, and becomes the shim. */
const ENTER_CGROUP = 'mkdir "$1" && echo 0 >"$1/cgroup.procs" || exit 125; shift; exec "$@"';

async function probeCgroup(): Promise<Containment | null> {
  const parent = await ownCgroup();
  if (parent === null) return null;
  const cgroupOf = (tree: string): string => path.join(parent, `${CGROUP_PREFIX}${tree}`);
  const wrap = (argv: readonly string[], tree: string): string[] => [
    '/bin/sh',
    '-c',
    ENTER_CGROUP,
    'adit',
    cgroupOf(tree),
    ...argv,
  ];
  const tree = `probe-${randomUUID()}`;
  const folder = cgroupOf(tree);
  const status = await statusOf(wrap(['/bin/sh', '-c', 'exit 42'], tree));
  const killed = await writeFile(path.join(folder, 'cgroup.kill'), '1').then(
    () => true,
    () => false,
  );
  await rmdir(folder).catch(() => {});
  if (status !== 42 || !killed) return null;
  await removeEmptyCgroups(parent);
  return { level: 'cgroup', promise: PROMISES.cgroup, wrap, cgroupOf };
}

const ABANDONED_AFTER_MS = 60_000;

/** Removes what was left when a host died; a cgroup with a process in it cannot be removed. */
async function removeEmptyCgroups(parent: string): Promise<void> {
  for (const name of await readdir(parent).catch(() => [])) {
    const folder = path.join(parent, name);
    if (!name.startsWith(CGROUP_PREFIX)) continue;
    // A new one may be empty because its process is just about to go into it.
    const made = await stat(folder).catch(() => null);
    if (made === null || Date.now() - made.mtimeMs < ABANDONED_AFTER_MS) continue;
    await rmdir(folder).catch(() => {});
  }
}

/** The folder of this process in the cgroup v2 tree, wherever that is mounted; null without one. */
async function ownCgroup(): Promise<string | null> {
  const read = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '');
  const own = /^0::(\/.*)$/m.exec(await read('/proc/self/cgroup'))?.[1];
  if (own === undefined) return null;
  for (const line of (await read('/proc/self/mountinfo')).split('\n')) {
    // 38 31 0:29 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw
    const [mount = '', source = ''] = line.split(' - ', 2);
    if (!source.startsWith('cgroup2 ')) continue;
    const [root = '/', point = ''] = mount.split(' ').slice(3, 5).map(unescapeMount);
    const inside = path.posix.relative(root, own);
    if (!inside.startsWith('..')) return path.join(point, inside);
  }
  return null;
}

/** Blanks and the like stand in mountinfo as `\040`. */
function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_all, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** Absolute path of a program of this machine: the PATH of a program's environment does not decide about ours. */
export async function findProgram(name: string): Promise<string | null> {
  const folders = `${process.env['PATH'] ?? ''}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin`;
  for (const folder of folders.split(':')) {
    if (!path.isAbsolute(folder)) continue;
    const file = path.join(folder, name);
    if (
      await access(file, constants.X_OK).then(
        () => true,
        () => false,
      )
    ) {
      return file;
    }
  }
  return null;
}

const PROBE_MS = 10_000;

/** The exit status of a short command; null when it was not started, ended by a signal or not in time. */
function statusOf([file = '', ...args]: readonly string[]): Promise<number | null> {
  return new Promise((resolve) => {
    const child = spawn(file, args, { stdio: 'ignore', timeout: PROBE_MS, killSignal: 'SIGKILL' });
    child.once('error', () => resolve(null));
    child.once('exit', (code) => resolve(code));
  });
}
