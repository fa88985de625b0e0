import { lstat, readdir } from 'node:fs/promises';
import path from 'node:path';
import { createEvidence } from '../adapters/evidence/evidence.js';
import { workspacePathsOf } from '../adapters/git/prune-workspaces.js';
import {
  readRecordedStarts,
  readStartState,
  serverOf,
} from '../adapters/processes/recorded-starts.js';
import { stepFolderName } from '../core/step-folder.js';

/** Effects that are younger count for the limit of submissions per day. */
const EFFECTS_KEPT_MS = 2 * 24 * 3_600_000;

/** What a run left in a state folder. */
export interface RunLeavings {
  readonly runId: string;
  readonly roundId: string;
  /** Run directories, checkpoints and workspaces that are there. */
  readonly paths: readonly string[];
  /** Its evidence, and its round's effects once all of them are settled. */
  readonly evidence: readonly string[];
  /** When something of its evidence or of its programs' folder was last changed, in milliseconds since the epoch. */
  readonly changedAtMs: number;
  /** Its records do not say that all of its programs have ended. */
  readonly mayLive: boolean;
  /** The Temporal servers that its programs were started for. */
  readonly servers: readonly { readonly address: string; readonly namespace: string }[];
}

export async function readLeavings(
  stateDir: string,
  runId: string,
  roundId: string,
): Promise<RunLeavings> {
  const evidence = createEvidence(stateDir).directory(runId);
  const folder = path.join(path.resolve(stateDir), 'runs', stepFolderName(runId));
  const starts = await readRecordedStarts(stateDir, runId, []);
  const states = await Promise.all(starts.map(readStartState));
  const paths = [
    path.join(folder, 'processes'),
    path.join(folder, 'checkpoints'),
    ...(await workspacePathsOf(stateDir, runId)),
  ];
  const servers = starts.map(serverOf).filter((server) => server !== null);
  return {
    runId,
    roundId,
    paths: await existing(paths),
    evidence: await existing([...(await settledEffects(stateDir, roundId, runId)), evidence]),
    changedAtMs: await newestChange([folder, evidence, path.join(evidence, 'steps')]),
    mayLive: states.some((state) => state === 'alive' || state === 'elsewhere'),
    servers,
  };
}

/** The folder of a round's effects, when this is its first run, all are settled and none is young; else nothing. */
async function settledEffects(stateDir: string, roundId: string, runId: string): Promise<string[]> {
  if (roundId !== runId) return [];
  const effects = await createEvidence(stateDir).readEffects(roundId);
  const folder = path.join(
    path.resolve(stateDir),
    'effects',
    path.basename(createEvidence(stateDir).directory(roundId)),
  );
  const open = effects.some(({ settled }) => settled === undefined);
  const young = Date.now() - (await newestChange([folder])) < EFFECTS_KEPT_MS;
  return effects.length === 0 || open || young ? [] : [folder];
}

async function existing(paths: readonly string[]): Promise<string[]> {
  const found = await Promise.all(paths.map((file) => lstat(file).catch(() => null)));
  return paths.filter((_, index) => found[index] !== null);
}

/** The newest change of these folders and of the files right inside of them; 0 where there is nothing. */
async function newestChange(folders: readonly string[]): Promise<number> {
  let newest = 0;
  for (const folder of folders) {
    const names = await readdir(folder).catch(() => []);
    for (const file of [folder, ...names.map((name) => path.join(folder, name))]) {
      const found = await lstat(file).catch(() => null);
      newest = Math.max(newest, found?.mtimeMs ?? 0);
    }
  }
  return newest;
}
