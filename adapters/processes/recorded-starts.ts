/** What the run directories tell about the programs of a run, without a host: for people who read outputs. */
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import type { HostProgramSpec } from '../../core/host-protocol.js';
import type { JsonObject } from '../../core/json.js';
import { stepFolderName } from '../../core/step-folder.js';
import { look } from '../../host/process-table.js';
import { hostFolder } from '../../host/host-folder.js';
import { programFiles, startsOf } from '../../host/program-files.js';
import { isEntry, readIndex } from '../../host/program-index.js';
import {
  readEnding,
  readEndTime,
  readExit,
  readOwner,
  readSpec,
  toProgramEnd,
} from '../../host/program-records.js';

export { readCut } from '../../host/output-limit.js';

/** One start of a program that has a folder. */
export interface RecordedStart {
  readonly stateDir: string;
  readonly runId: string;
  readonly stepPath: string;
  readonly start: number;
  /** Its folder. */
  readonly root: string;
  /** The file that holds its output; it may not be there yet. */
  readonly log: string;
  /** Milliseconds since the epoch. */
  readonly startedAtMs: number;
}

/**
 * The starts of a run in one state folder, in the order in which they began; empty when there are none. A folder's
 * name tells the path of its step only where it is among `knownPaths`; otherwise it is read back as well as it can be.
 */
export async function readRecordedStarts(
  stateDir: string,
  runId: string,
  knownPaths: Iterable<string>,
): Promise<RecordedStart[]> {
  const pathOf = new Map([...knownPaths].map((known) => [stepFolderName(known), known]));
  const folder = path.join(path.resolve(stateDir), 'runs', stepFolderName(runId), 'processes');
  const starts: RecordedStart[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    const stepPath = pathOf.get(name) ?? name.replaceAll('@', '/').replaceAll('.', '#');
    for (const start of startsOf(path.join(folder, name))) {
      const root = path.join(folder, name, String(start));
      const startedAtMs = await readStartTime(root);
      if (startedAtMs === null) continue;
      const log = path.join(root, 'output', 'log');
      starts.push({ stateDir, runId, stepPath, start, root, log, startedAtMs });
    }
  }
  return starts.sort(
    (a, b) =>
      a.startedAtMs - b.startedAtMs ||
      (a.stepPath < b.stepPath ? -1 : a.stepPath > b.stepPath ? 1 : a.start - b.start),
  );
}

/**
 * How a start stands by its record: `ended`, also when its program is gone without a word; `alive`; `elsewhere` when
 * only its host can tell, as in another pid namespace; `unbegun` when nothing has run yet.
 */
export async function readStartState({
  root,
}: RecordedStart): Promise<'ended' | 'alive' | 'elsewhere' | 'unbegun'> {
  if (readExit(root) !== null) return 'ended';
  const owner = readOwner(root);
  if (owner === null) return 'unbegun';
  if (readEnding(root, owner.marker)?.endedAtMs !== undefined) return 'ended';
  const found = await look(owner.leader);
  return found === 'gone' ? 'ended' : found;
}

/** When a start ended, in milliseconds since the epoch, by host or shim; null when neither has said so. */
export function endTimeOf({ root }: RecordedStart): number | null {
  const owner = readOwner(root);
  return readEndTime(root, owner === null ? null : readEnding(root, owner.marker));
}

/** The status with which the program of a start ended by itself; null when it did not, or nobody knows. */
export function readExitCode({ root }: RecordedStart): number | null {
  return readExit(root)?.code ?? null;
}

/**
 * Programs that may live although no host answers for them, by the index that the last host left; the oldest first.
 * `pid` is of the program's first process, null where it cannot be looked at from here.
 */
export async function readLivePrograms(
  stateDir: string,
): Promise<(RecordedStart & { readonly pid: number | null })[]> {
  const { programs: folder } = hostFolder(stateDir);
  const live: (RecordedStart & { readonly pid: number | null })[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    if (!isEntry(name)) continue;
    const place = readIndex(path.join(folder, name));
    if (place === null) continue;
    const { runId, stepPath, start } = place;
    const { root, log } = programFiles(stateDir, place);
    const startedAtMs = await readStartTime(root);
    if (startedAtMs === null) continue;
    const recorded = { stateDir, runId, stepPath, start, root, log, startedAtMs };
    const state = await readStartState(recorded);
    if (state === 'ended' || state === 'unbegun') continue;
    const pid = state === 'alive' ? (readOwner(root)?.leader.pid ?? null) : null;
    live.push({ ...recorded, pid });
  }
  return live.sort((a, b) => a.startedAtMs - b.startedAtMs);
}

/** What a start was asked to run, and how it ended as far as is known; the environment by its names alone. */
export function readStartRecord({ root }: RecordedStart): JsonObject {
  // A digest of values that may be secret could be tried out.
  const { envSha256: _values, ...spec } = readSpec(root) ?? { envSha256: '' };
  const owner = readOwner(root);
  const ending = owner === null ? null : readEnding(root, owner.marker);
  return JSON.parse(
    JSON.stringify({ spec, exit: readExit(root), end: toProgramEnd(ending) }),
  ) as JsonObject;
}

/** The Temporal server that a start's program was started for; null when it is not on record. */
export function serverOf({ root }: RecordedStart): HostProgramSpec['server'] {
  return readSpec(root)?.server ?? null;
}

/** When a start began: its owner's record, else when its spec was written; null when neither is there. */
async function readStartTime(root: string): Promise<number | null> {
  const owner = readOwner(root);
  if (owner !== null) return owner.startedAtMs;
  const spec = await stat(path.join(root, 'spec.json')).catch(() => null);
  return spec?.mtimeMs ?? null;
}
