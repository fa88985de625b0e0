/**
 * The processes of one program: who they are, signals to them, and their end.
 *
 * At level `pidNamespace` the spawned process (the leader) only waits for pid 1 of the namespace, the shim;
 * at the other levels it is the shim. The shim must trap TERM, HUP and INT.
 *
 * A process belongs to a program when one of these holds:
 * - it is the leader or the shim, or in the leader's group or in the program's cgroup;
 * - it carries the marker in the environment that it was started with;
 * - it descends from such a process, or is in a pid namespace whose pid 1 is one.
 */
import { readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { StepError } from '../core/error.js';
import { CGROUP_PREFIX, type Containment, type ContainmentLevel } from './containment.js';
import { scanNamespaces, scanProcesses } from './process-scan.js';
import {
  ageMs,
  identify,
  isFork,
  look,
  readPidNamespace,
  readProcesses,
  readProcFile,
  readStat,
  type ProcessIdentity,
  type ProcessStat,
} from './process-table.js';

/** Environment variable that each process of a program inherits, also one that leaves the group. */
export const PROCESS_MARKER = 'ADIT_PROCESS_ID';

/** Which processes belong to a program; part of owner.json. Records of version 1 are of level `processGroup`. */
export interface TreeRecord {
  /** The process that was spawned, detached: it leads a group of its own. */
  readonly leader: ProcessIdentity;
  /** Value of PROCESS_MARKER in the environment that the program started with. */
  readonly marker: string;
  readonly level: ContainmentLevel;
  /** At level `pidNamespace`: pid 1 of the program's namespace, as seen from here: the shim. */
  readonly init?: ProcessIdentity;
  /** At level `cgroup`: its folder. */
  readonly cgroup?: string;
}

const SHIM_AFTER_MS = 10_000;

/**
 * What to record of a program that was just spawned, detached, with `containment.wrap(shim, marker)` and the marker
 * in its environment. Waits until the shim is there; null when it has ended before. Throws PROGRAM_LOST when it
 * does not come.
 */
export async function recordTree(
  pid: number,
  marker: string,
  containment: Containment,
): Promise<TreeRecord | null> {
  const leader = await identify(pid);
  if (leader === null) return null;
  const { level } = containment;
  const cgroup = containment.cgroupOf(marker);
  if (level !== 'pidNamespace') {
    return { leader, marker, level, ...(cgroup !== null && { cgroup }) };
  }
  const givenUpAt = performance.now() + SHIM_AFTER_MS;
  for (let waitMs = 1; performance.now() < givenUpAt; waitMs = Math.min(waitMs * 2, 50)) {
    for (const child of await childrenOf(pid)) {
      const init = await identify(child);
      if (init !== null) return { leader, marker, level, init };
    }
    if ((await look(leader)) !== 'alive') return null;
    await sleep(waitMs);
  }
  throw new StepError('PROGRAM_LOST', `Process ${pid} did not begin the program's namespace.`);
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => null);
  if (text !== null) return text.split(' ').filter(Boolean).map(Number);
  // Not every kernel has that file.
  return (await readProcesses()).filter(({ parent }) => parent === pid).map((stat) => stat.pid);
}

/**
 * The living processes of a program that can be seen from here. Of a program that was started in another pid
 * namespace of this boot an empty list proves nothing: ask its lock.
 */
export async function membersOf(tree: TreeRecord): Promise<number[]> {
  return (await findMembers(tree)).map(({ pid }) => pid);
}

/** At most so many looks until one without a fork in between says that nobody is left. */
const MOST_LOOKS = 5;

async function findMembers(tree: TreeRecord): Promise<ProcessStat[]> {
  // The usual end of a program, and not worth a look at all processes: lookForMembers says why it is enough.
  if (tree.init !== undefined && (await look(tree.init)) === 'gone') {
    if ((await look(tree.leader)) === 'gone') return [];
  }
  for (let looks = 1; ; looks += 1) {
    const before = await readForkCount();
    const members = await lookForMembers(tree);
    // A process that forks and ends while /proc is read hides its child; one look that says "nobody" is no proof.
    if (members.length > 0 || looks === MOST_LOOKS || (await readForkCount()) === before) {
      return members;
    }
  }
}

/** How many processes and threads were made since the boot. */
async function readForkCount(): Promise<string> {
  const text = await readFile('/proc/stat', 'utf8').catch(() => '');
  return /^processes \d+$/m.exec(text)?.[0] ?? '';
}

async function lookForMembers(tree: TreeRecord): Promise<ProcessStat[]> {
  const where = await look(tree.leader);
  if (where === 'gone' && !(await isThisBoot(tree))) return [];
  const isHere = where !== 'elsewhere';
  if (where === 'gone' && tree.init !== undefined && (await look(tree.init)) === 'gone') {
    // Pid 1 of a namespace is gone after everybody else in it; that is the kernel's promise.
    return [];
  }
  const processes = (await scanProcesses(PROCESS_MARKER)).filter(
    // Nobody of the program is older than its leader.
    ({ startTicks }) => startTicks >= tree.leader.startTicks,
  );
  const byPid = new Map(processes.map((stat) => [stat.pid, stat]));
  const found = new Set<number>();
  for (const { pid, markers } of processes) if (markers.includes(tree.marker)) found.add(pid);
  if (isHere) {
    for (const known of [tree.leader, ...(tree.init === undefined ? [] : [tree.init])]) {
      if (byPid.get(known.pid)?.startTicks === known.startTicks) found.add(known.pid);
    }
    const group = processes.filter((stat) => stat.group === tree.leader.pid);
    // The number of a group is not used again while it has members, so the leader or the marker of one of them
    // proves that it is ours.
    if (group.some(({ pid }) => found.has(pid))) for (const { pid } of group) found.add(pid);
  }
  for (const pid of await readCgroup(tree.cgroup)) if (byPid.has(pid)) found.add(pid);
  if (found.size === 0) return [];

  addDescendants(found, processes);
  await addNamespaces(found, processes);
  addDescendants(found, processes);
  // Not this process, should a program run the host that ends it.
  found.delete(process.pid);
  return processes.filter(({ pid }) => found.has(pid));
}

/** Adds who is in a pid namespace that is not ours and whose pid 1 is found: who went into another one does not count. */
async function addNamespaces(found: Set<number>, processes: readonly ProcessStat[]): Promise<void> {
  const own = await readPidNamespace('self');
  const namespaces = await scanNamespaces();
  const theirs = new Set<string>();
  for (const pid of found) {
    const namespace = namespaces.get(pid) ?? own;
    if (namespace !== null && namespace !== own && isFirst(pid)) theirs.add(namespace);
  }
  for (const { pid } of processes) {
    const namespace = namespaces.get(pid) ?? null;
    if (namespace !== null && theirs.has(namespace)) found.add(pid);
  }
}

/** True for pid 1 of the innermost pid namespace that a process is in. */
function isFirst(pid: number): boolean {
  return /^NSpid:.*\t1$/m.test(readProcFile(`/proc/${pid}/status`));
}

function addDescendants(found: Set<number>, processes: readonly ProcessStat[]): void {
  for (let size = -1; size !== found.size;) {
    size = found.size;
    for (const { pid, parent } of processes) if (found.has(parent)) found.add(pid);
  }
}

async function isThisBoot({ leader }: TreeRecord): Promise<boolean> {
  return (await identify(process.pid))?.bootId === leader.bootId;
}

/** The processes in a cgroup of ours and in those that the program made in it. */
async function readCgroup(cgroup: string | undefined): Promise<number[]> {
  if (cgroup === undefined || !path.basename(cgroup).startsWith(CGROUP_PREFIX)) return [];
  const pids: number[] = [];
  for (const folder of await cgroupFolders(cgroup)) {
    const text = await readFile(path.join(folder, 'cgroup.procs'), 'utf8').catch(() => '');
    for (const line of text.split('\n')) if (Number(line) > 0) pids.push(Number(line));
  }
  return pids;
}

/** A cgroup and all below it, the deepest last. */
async function cgroupFolders(cgroup: string): Promise<string[]> {
  const folders = [cgroup];
  for (const folder of folders) {
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      if (entry.isDirectory()) folders.push(path.join(folder, entry.name));
    }
  }
  return folders;
}

/** A fork that has not become another program for so long was not about to. Also where it waits long for a processor. */
const SETTLED_AFTER_MS = 3_000;
const SETTLED_POLL_MS = 50;

/**
 * Sends a signal that a program may expect, such as USR1 before a limit. Only processes that handle it get it: the
 * shell around a trainer, or its helpers, would die of it. A child handles between fork and exec what its parent
 * handles, and would die of it as the other program: a fork gets it only when it has stayed one. KILL, STOP and CONT
 * go to all, at once. Returns how many got it, when that is settled for all that there were.
 */
export async function signalTree(tree: TreeRecord, signal: NodeJS.Signals): Promise<number> {
  const members = await findMembers(tree);
  if (SIGNALS_FOR_ALL.has(signal)) return members.filter(({ pid }) => send(pid, signal)).length;
  const number = signalNumber(signal);
  const shim = shimOf(tree);
  let asked = members.filter(({ pid }) => pid !== tree.leader.pid && pid !== shim.pid);
  const settledAt = performance.now() + SETTLED_AFTER_MS;
  for (let sent = 0; ;) {
    const young: ProcessStat[] = [];
    // Where the machine has slept an age says too little: a fork that was looked at for so long has stayed one too.
    const isOver = performance.now() >= settledAt;
    for (const { pid, startTicks } of asked) {
      const stat = await readStat(pid);
      if (stat?.startTicks !== startTicks) continue;
      const isUnsettled = !isOver && isFork(stat) && ageMs(stat) < SETTLED_AFTER_MS;
      if (!handlesSignal(pid, number)) continue;
      if (isUnsettled) young.push(stat);
      else if (send(pid, signal)) sent += 1;
    }
    if (young.length === 0) return sent;
    await sleep(SETTLED_POLL_MS);
    asked = young;
  }
}

const SIGNALS_FOR_ALL: ReadonlySet<NodeJS.Signals> = new Set(['SIGKILL', 'SIGSTOP', 'SIGCONT']);

function signalNumber(signal: NodeJS.Signals): number {
  const number = constants.signals[signal];
  if (number === undefined) {
    throw new StepError('PROGRAM_UNUSABLE', `There is no signal ${signal} on this system.`);
  }
  return number;
}

function handlesSignal(pid: number, number: number): boolean {
  const status = readProcFile(`/proc/${pid}/status`);
  const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return caught !== undefined && ((BigInt(`0x${caught}`) >> BigInt(number - 1)) & 1n) === 1n;
}

/** The process that waits for the program and records how it ended. */
function shimOf(tree: TreeRecord): ProcessIdentity {
  return tree.init ?? tree.leader;
}

const FIRST_POLL_MS = 5;
const POLL_MS = 50;
const UNKILLABLE_AFTER_MS = 30_000;

/**
 * Ends every process of a program: TERM, and KILL after `graceMs`. Returns when none is left that can be seen from
 * here. Throws PROGRAM_LOST when one cannot be killed: starting the program a second time would not be safe.
 */
export async function endTree(tree: TreeRecord, graceMs: number): Promise<void> {
  let members = await findMembers(tree);
  let isAsked = false;
  let pollMs = FIRST_POLL_MS;
  const graceEndsAt = performance.now() + graceMs;
  const givenUpAt = graceEndsAt + UNKILLABLE_AFTER_MS;
  while (members.length > 0) {
    const now = performance.now();
    if (now >= givenUpAt) throw unkillable(members);
    if (now >= graceEndsAt) {
      // Each time anew: a process may have forked between the look and the signal.
      await killAll(tree, members);
    } else if (!isAsked) {
      // Once: what a program starts in order to end well must not be asked as well.
      isAsked = askAll(tree, members);
    }
    await sleep(Math.min(pollMs, Math.max(1, graceEndsAt - now)));
    pollMs = Math.min(pollMs * 2, POLL_MS);
    members = await findMembers(tree);
  }
  await removeCgroup(tree.cgroup);
}

function unkillable(members: readonly ProcessStat[]): StepError {
  return new StepError(
    'PROGRAM_LOST',
    `Process ${members[0]?.pid} of the program cannot be killed.`,
    {
      hint: 'It waits in the kernel, for example for a device or a network disk; look at it on the host.',
    },
  );
}

/** Sends TERM; false while the shim has not started the program. */
function askAll(tree: TreeRecord, members: readonly ProcessStat[]): boolean {
  const shim = shimOf(tree);
  const program = members.filter(({ pid }) => pid !== shim.pid && pid !== tree.leader.pid);
  const group = members.find(({ pid }) => pid === shim.pid)?.group;
  // The group at once, so that no member sees another end first; then who has left it. At level `pidNamespace` the
  // group is never that of the leader, which must stay to tell the end.
  if (group === shim.pid) send(-group, 'SIGTERM');
  for (const { pid, ...stat } of program) if (stat.group !== shim.pid) send(pid, 'SIGTERM');
  // A stopped process takes a TERM only when it goes on.
  for (const { pid } of members) send(pid, 'SIGCONT');
  return program.length > 0;
}

async function killAll(tree: TreeRecord, members: readonly ProcessStat[]): Promise<void> {
  if (tree.cgroup !== undefined && path.basename(tree.cgroup).startsWith(CGROUP_PREFIX)) {
    await writeFile(path.join(tree.cgroup, 'cgroup.kill'), '1').catch(() => {});
  }
  // Pid 1 of the namespace first: with it the kernel kills the rest, and no fork is faster.
  const shim = shimOf(tree).pid;
  for (const { pid } of members) if (pid === shim) send(pid, 'SIGKILL');
  // At once, against a fork bomb. Members found prove that the number of the group is still theirs.
  if (members.some(({ group }) => group === tree.leader.pid)) send(-tree.leader.pid, 'SIGKILL');
  for (const { pid } of members) send(pid, 'SIGKILL');
}

async function removeCgroup(cgroup: string | undefined): Promise<void> {
  if (cgroup === undefined || !path.basename(cgroup).startsWith(CGROUP_PREFIX)) return;
  const folders = (await cgroupFolders(cgroup)).toReversed();
  // A process that was just killed keeps its cgroup until its parent has seen it.
  for (let tries = 0; tries < 20; tries += 1) {
    const left = await Promise.all(
      folders.map((folder) =>
        rmdir(folder).then(
          () => false,
          (error: NodeJS.ErrnoException) => error.code === 'EBUSY',
        ),
      ),
    );
    if (!left.includes(true)) return;
    await sleep(POLL_MS);
  }
}

function send(target: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(target, signal);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ESRCH' && code !== 'EPERM') throw error;
    return false;
  }
}
