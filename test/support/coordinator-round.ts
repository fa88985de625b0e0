/** What the tests of the coordinator's steps share: a fake coordinator, a hotkey, a state folder and the values of a round. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Adapters } from '../../activities/adapters.js';
import type { StepContext } from '../../activities/step-type.js';
import { createCoordinator } from '../../adapters/coordinator/coordinator.js';
import { createEvidence } from '../../adapters/evidence/evidence.js';
import { createMachine } from '../../adapters/machine/machine.js';
import { loadSettings, type Settings } from '../../adapters/settings/settings.js';
import { createFolderStore } from '../../adapters/store/store.js';
import { createWallet } from '../../adapters/wallet/wallet.js';
import type { Artifact, Claim, PassVerdict, Patch, Task } from '../../compiler/values.js';
import type { Json, JsonObject } from '../../core/json.js';
import { startFakeCoordinator, type FakeCoordinator } from '../fakes/fake-coordinator.js';

const { key } = JSON.parse(
  readFileSync(
    new URL('../fixtures/coordinator/generated-signing-vectors.json', import.meta.url),
    'utf8',
  ),
) as { key: { mnemonic: string; ss58_address_42: string } };

export const HOTKEY = key.ss58_address_42;
export const TASK_ID = '802f6eba-874e-43c4-b097-33a204684bf4';
export const COMMIT = '0123456789abcdef0123456789abcdef01234567';

export const taskRecord: JsonObject = {
  id: TASK_ID,
  slug: 'tiny-ternary-frontier',
  title: 'Tiny ternary frontier',
  brief: 'Make it better.',
  repository: 'https://example.org/tiny.git',
  base_ref: 'production',
  setup_command: null,
  benchmark_command: 'python3 benchmark.py',
  result_path: 'last_run.json',
  allowed_patch_paths: ['train.py'],
  max_patch_bytes: 262_144,
  metric_name: 'heldout_ppl',
  metric_direction: 'minimize',
  ranking_mode: 'scalar',
  secondary_metric_name: null,
  secondary_metric_direction: null,
  competition_mode: 'standard',
  min_peer_evaluations: 2,
  time_budget_seconds: 1_800,
  task_state: 'live',
  is_active: true,
  onboard_path: `/api/v1/tasks/${TASK_ID}/onboard.md`,
  unknown_member: { kept: true },
};

export interface Round {
  readonly fake: FakeCoordinator;
  readonly folder: string;
  readonly settings: Settings;
  readonly adapters: Adapters;
  /** What the step under test reported, in order. */
  readonly progress: Record<string, Json>[];
  /** A context of the step at `path`; the first attempt of the first start unless told otherwise. */
  context(path: string, change?: Partial<StepContext>): StepContext;
  close(): Promise<void>;
}

/** `adapters` replaces or adds some; what is in neither throws when it is used. */
export async function startRound(
  environment: Record<string, string> = {},
  others: Partial<Adapters> = {},
): Promise<Round> {
  const fake = await startFakeCoordinator();
  fake.tasks.push({ ...taskRecord });
  const folder = await mkdtemp(path.join(tmpdir(), 'adit-round-'));
  const hotkeyFile = path.join(folder, 'hotkey');
  await writeFile(hotkeyFile, JSON.stringify({ ss58Address: HOTKEY, secretPhrase: key.mnemonic }));
  const settings = loadSettings(
    {
      HOME: folder,
      ADIT_STATE_DIR: path.join(folder, 'state'),
      ADIT_COORDINATOR_URL: fake.url,
      ADIT_HOTKEY_FILE: hotkeyFile,
      // What was sent counts as settled at once, unless a test is about that.
      ADIT_SIGNATURE_WINDOW_SECONDS: '0',
      ADIT_COORDINATOR_LAG_SECONDS: '0',
      ...environment,
    },
    folder,
  );
  const wallet = createWallet(settings);
  const known: Partial<Adapters> = {
    settings,
    wallet,
    store: createFolderStore(path.join(folder, 'store')),
    evidence: createEvidence(settings.stateDir),
    coordinator: createCoordinator(settings, wallet, { timeoutMs: 5_000 }),
    machine: createMachine(),
    ...others,
  };
  const progress: Record<string, Json>[] = [];
  const { signal } = new AbortController();
  return {
    fake,
    folder,
    settings,
    adapters: known as Adapters,
    progress,
    context: (stepPath, change) => ({
      call: {
        runId: 'round-1',
        roundId: 'round-1',
        pipeline: 'frontier-round',
        path: stepPath,
        start: 1,
        network: { coordinator: fake.url, hotkey: HOTKEY },
      },
      firstAttempt: true,
      attempt: 1,
      scheduledAtMs: Date.now(),
      deadlineMs: null,
      signal,
      progress: (status) => progress.push({ ...status }),
      adapters: known as Adapters,
      ...change,
    }),
    async close() {
      await fake.close();
      await rm(folder, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}

export interface Work {
  readonly task: Task;
  readonly verdict: PassVerdict;
  readonly patch: Patch;
  readonly artifact: Artifact;
}

/** A task, and a patch and an artifact with a verdict about them, as the steps before would have made them. */
export async function makeWork({ adapters }: Pick<Round, 'adapters'>): Promise<Work> {
  const text = '--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-a\n+b\n';
  const patchFile = await adapters.store.putBytes(text);
  const artifactFile = await adapters.store.putBytes('model');
  const report = await adapters.store.putBytes('{}');
  const record = await adapters.store.putBytes(JSON.stringify(taskRecord));
  const uri = 'https://127.0.0.1/artifact';
  return {
    task: {
      id: TASK_ID,
      slug: 'tiny-ternary-frontier',
      title: 'Tiny ternary frontier',
      repository: 'https://example.org/tiny.git',
      baseRef: 'production',
      benchmarkCommand: 'python3 benchmark.py',
      allowedPatchPaths: ['train.py'],
      maxPatchBytes: 262_144,
      metricName: 'heldout_ppl',
      metricDirection: 'minimize',
      rankingMode: 'scalar',
      competitionMode: 'standard',
      timeBudgetSeconds: 1_800,
      taskState: 'live',
      isActive: true,
      record,
    },
    patch: { file: patchFile, commit: COMMIT, tree: COMMIT, paths: ['train.py'] },
    artifact: { file: artifactFile, uri },
    verdict: {
      patchSha256: patchFile.sha256,
      artifactSha256: artifactFile.sha256,
      artifactUri: uri,
      artifactSizeBytes: artifactFile.sizeBytes,
      measurementSha256: createHash('sha256').update('measurement').digest('hex'),
      taskId: TASK_ID,
      commit: COMMIT,
      metric: 'heldout_ppl',
      direction: 'minimize',
      baseline: 300,
      candidate: 254.69,
      gain: 0.16,
      gainUnit: 'nats',
      threshold: 0.02,
      statement: { summary: 'Better thresholds.' },
      claimedMetrics: { heldout_ppl: 254.69, tiny: 1e-7 },
      reasons: ['the gain is enough'],
      report,
    },
  };
}

/** A claim of ours on the task, active at the fake coordinator. */
export async function makeClaim({ adapters }: Round): Promise<Claim> {
  const { known, raw } = await adapters.coordinator.claim(
    TASK_ID,
    'a claim',
    new AbortController().signal,
  );
  return {
    id: known.id,
    taskId: known.task_id,
    hotkey: known.miner_hotkey,
    status: known.status,
    description: known.claim_description,
    expiresAt: new Date(known.expires_at).toISOString(),
    createdAt: new Date(known.created_at).toISOString(),
    record: await adapters.store.putBytes(JSON.stringify(raw)),
  };
}
