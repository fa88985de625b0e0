/**
 * One look at all processes, for everybody who asks meanwhile: a hundred programs that are ended at once would
 * otherwise read all of /proc a hundred times in each round.
 */
import {
  mapProcesses,
  readPidNamespace,
  readProcesses,
  readProcFile,
  type ProcessStat,
} from './process-table.js';

export interface ScannedProcess extends ProcessStat {
  /** Values that PROCESS_MARKER has in its environment; mostly none. */
  readonly markers: readonly string[];
}

/** Every living process, with the markers that can be read. The look begins after the call. */
export function scanProcesses(markerName: string): Promise<readonly ScannedProcess[]> {
  return shared(scans, markerName, () =>
    mapProcesses((stat) => ({ ...stat, markers: readMarkers(stat.pid, `${markerName}=`) })),
  );
}

/** The pid namespace of each process that lets us see it. The look begins after the call. */
export function scanNamespaces(): Promise<ReadonlyMap<number, string | null>> {
  return shared(namespaces, '', async () => {
    const found = (await readProcesses()).map(
      async ({ pid }) => [pid, await readPidNamespace(pid)] as const,
    );
    return new Map(await Promise.all(found));
  });
}

function readMarkers(pid: number, prefix: string): string[] {
  // Unreadable for processes of other users, which cannot be ours.
  const environment = readProcFile(`/proc/${pid}/environ`);
  if (!environment.includes(prefix)) return [];
  const entries = environment.split('\0').filter((entry) => entry.startsWith(prefix));
  return entries.map((entry) => entry.slice(prefix.length));
}

interface Looks<T> {
  running: Promise<unknown>;
  next: Promise<T> | null;
}

const scans = new Map<string, Looks<readonly ScannedProcess[]>>();
const namespaces = new Map<string, Looks<ReadonlyMap<number, string | null>>>();

/** Who asks while a look is under way shares the next one: the one under way may have missed what he asks about. */
function shared<T>(all: Map<string, Looks<T>>, key: string, action: () => Promise<T>): Promise<T> {
  const looks = all.get(key) ?? { running: Promise.resolve(), next: null };
  all.set(key, looks);
  if (looks.next !== null) return looks.next;
  const next = looks.running.then(() => {
    looks.next = null;
    return action();
  });
  looks.next = next;
  looks.running = next.catch(() => {});
  return next;
}
