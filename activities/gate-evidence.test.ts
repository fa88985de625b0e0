import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { z } from 'zod';
import { createArtifactHost } from '../adapters/artifact-host/artifact-host.js';
import { createCoordinator } from '../adapters/coordinator/coordinator.js';
import { createSecretScanner } from '../adapters/secrets/secret-scanner.js';
import { createFolderStore, type Store } from '../adapters/store/store.js';
import {
  passVerdictSchema,
  type Candidate,
  type FileRef,
  type PassVerdict,
  type Task,
} from '../compiler/values.js';
import { canonicalJson } from '../core/canonical-json.js';
import { StepError } from '../core/error.js';
import type { Json } from '../core/json.js';
import { startFakeCoordinator, type FakeCoordinator } from '../test/fakes/fake-coordinator.js';
import { startHttpsStorage, type HttpsStorage } from '../test/fakes/https-storage.js';
import type { Adapters } from './adapters.js';
import { gateEvidence } from './gate-evidence.js';
import type { StepContext } from './step-type.js';

const HOTKEY = '5DofCQDN9jcFtp84hKrbg1M8tupCUwXhym6JU1rnuWUkwn3V';
const OTHER = '5Hfbk2GksseGSKWpw1HEknwhQbbA8X8Xzhw8toXSNvK9TuXW';
const COMMIT = 'c'.repeat(40);
const COMMAND = 'python3 packs/tiny/benchmark.py';
const PATCH = `diff --git a/packs/tiny/train.py b/packs/tiny/train.py
--- a/packs/tiny/train.py
+++ b/packs/tiny/train.py
@@ -1 +1 @@
-method = "plain"
+method = "row"
`;

type Input = z.output<typeof gateEvidence.input>;

let folder: string;
let store: Store;
let storage: HttpsStorage;
let coordinator: FakeCoordinator;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-gate-'));
  store = createFolderStore(folder);
  storage = await startHttpsStorage();
  coordinator = await startFakeCoordinator();
});
afterEach(async () => {
  await coordinator.close();
  await storage.close();
  await rm(folder, { recursive: true, force: true });
});

function newTask(record: FileRef): Task {
  return {
    id: 'task-1',
    slug: 'tiny',
    title: 'Tiny',
    repository: 'https://example.org/tiny.git',
    baseRef: 'production',
    benchmarkCommand: COMMAND,
    allowedPatchPaths: ['packs/tiny/train.py'],
    maxPatchBytes: 10_000,
    metricName: 'heldout_ppl',
    metricDirection: 'minimize',
    rankingMode: 'scalar',
    competitionMode: 'standard',
    timeBudgetSeconds: 120,
    taskState: 'live',
    isActive: true,
    record,
  };
}

async function newCandidate(weights: string, value: number, tree: string): Promise<Candidate> {
  const file = await store.putBytes(weights);
  return {
    workspace: { queue: 'host', path: '/w', commit: COMMIT, tree },
    artifact: { file },
    measurement: {
      metric: 'heldout_ppl',
      value,
      direction: 'minimize',
      fingerprint: {
        command: COMMAND,
        commit: COMMIT,
        heldoutSha256: '3'.repeat(64),
        environmentSha256: '4'.repeat(64),
        device: 'cpu',
        runtimeSha256: '5'.repeat(64),
      },
      artifactSha256: file.sha256,
      tree,
      log: await store.putBytes('log'),
      measuredAt: '2026-11-21T12:00:00.000Z',
    },
  };
}

/** An input that passes, its artifact on the host. */
async function newInput(patchText = PATCH): Promise<Input> {
  const candidate = await newCandidate('better weights', 5.146, 'b'.repeat(40));
  const { file } = candidate.artifact;
  storage.objects.set(`/${file.sha256}`, await store.read(file));
  return {
    task: newTask(await store.putBytes('{}')),
    baseline: await newCandidate('weights', 8.045, 'a'.repeat(40)),
    candidate,
    patch: {
      file: await store.putBytes(patchText),
      commit: COMMIT,
      tree: 'b'.repeat(40),
      paths: patchText === '' ? [] : ['packs/tiny/train.py'],
    },
    artifact: { file, uri: `${storage.url}/${file.sha256}` },
    threshold: 0.02,
    summary: 'One scale per row.',
  };
}

async function decide(input: Input): Promise<PassVerdict> {
  const adapters: Partial<Adapters> = {
    store,
    secretScanner: createSecretScanner(),
    artifactHost: createArtifactHost({
      publishUrl: storage.url,
      publishCaFile: storage.caFile,
      publishTokenFile: null,
      coordinatorUrl: coordinator.url,
    }),
    coordinator: createCoordinator(
      { coordinatorUrl: coordinator.url },
      {
        address: () => Promise.resolve(HOTKEY),
        sign: () => Promise.reject(new Error('nothing is signed here')),
      },
    ),
  };
  const context: StepContext = {
    call: {
      runId: 'run',
      roundId: 'run',
      pipeline: 'test',
      path: 'gate',
      start: 1,
      network: { coordinator: '', hotkey: '' },
    },
    firstAttempt: true,
    attempt: 1,
    scheduledAtMs: 0,
    deadlineMs: null,
    signal: new AbortController().signal,
    progress: () => undefined,
    adapters: adapters as Adapters,
  };
  return passVerdictSchema.parse((await gateEvidence.run(input, context)).verdict);
}

async function failureOf(promise: Promise<unknown>): Promise<StepError> {
  const outcome = await promise.then(
    (value) => value,
    (error: unknown) => error,
  );
  if (!(outcome instanceof StepError))
    throw new Error(`no StepError but ${JSON.stringify(outcome)}`);
  return outcome;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

test('a candidate that holds in everything gets a verdict, bound to the bytes', async () => {
  const input = await newInput();
  const verdict = await decide(input);
  expect(verdict).toMatchObject({
    patchSha256: sha256(PATCH),
    artifactSha256: sha256('better weights'),
    artifactUri: input.artifact.uri,
    artifactSizeBytes: 14,
    measurementSha256: sha256(canonicalJson(input.candidate.measurement as Json)),
    taskId: 'task-1',
    commit: COMMIT,
    metric: 'heldout_ppl',
    direction: 'minimize',
    baseline: 8.045,
    candidate: 5.146,
    gain: Math.log(8.045 / 5.146),
    gainUnit: 'nats',
    threshold: 0.02,
    statement: { summary: 'One scale per row.' },
    claimedMetrics: { heldout_ppl: 5.146 },
  });
  expect(verdict.reasons).toContain(
    'gain: heldout_ppl 5.146 against 8.045 of the baseline: a gain of 0.446831 nats, at or above the threshold of 0.02',
  );
  const report: unknown = JSON.parse((await store.read(verdict.report)).toString());
  expect(report).toMatchObject({ format: 'adit-gate-report/1', passed: true });
});

test('an empty patch passes when the artifact stands for itself', async () => {
  const verdict = await decide(await newInput(''));
  expect(verdict.patchSha256).toBe(sha256(''));
});

test('an artifact that changed after publishing stops the run', async () => {
  const input = await newInput();
  storage.objects.set(`/${input.artifact.file.sha256}`, Buffer.from('worse! weights'));
  const failure = await failureOf(decide(input));
  expect(failure.code).toBe('ARTIFACT_CHANGED');
  expect(failure.message).toBe(
    `The evidence gate did not pass, 1 of 14 checks failed. artifact: the artifact changed after publishing: ${input.artifact.uri} has SHA-256 ${sha256('worse! weights')}, not ${input.artifact.file.sha256}.`,
  );
});

test('an artifact host that does not answer is not a decision', async () => {
  const input = await newInput();
  const artifact = { ...input.artifact, uri: 'https://127.0.0.1:1/x' };
  expect((await failureOf(decide({ ...input, artifact }))).code).toBe('ARTIFACT_HOST_UNAVAILABLE');
});

test('all that is wrong is told at once, and the report is kept', async () => {
  const input = await newInput(PATCH.replaceAll('train.py', 'engine.py'));
  const failure = await failureOf(
    decide({
      ...input,
      threshold: 0.5,
      summary: `token hf_${'aB3'.repeat(12)}`,
      artifact: { file: input.artifact.file },
    }),
  );
  expect(failure.code).toBe('GATE_NOT_PASSED');
  expect(failure.message).toBe(
    'The evidence gate did not pass, 4 of 14 checks failed.' +
      ' gain: heldout_ppl 5.146 against 8.045 of the baseline: a gain of 0.446831 nats, below the threshold of 0.5.' +
      ' surface: the patch touches paths outside the allowed surface: "packs/tiny/engine.py" (allowed: "packs/tiny/train.py").' +
      ' artifact: the artifact has no complete reference: address "", 14 bytes.' +
      ' secrets: the summary holds what looks like a Hugging Face token, line 1.',
  );
  const digest = /[0-9a-f]{64}/.exec(failure.hint ?? '')?.[0] ?? '';
  const report: unknown = JSON.parse(
    readFileSync(path.join(folder, digest.slice(0, 2), digest), 'utf8'),
  );
  expect(report).toMatchObject({ passed: false, gainUnit: 'nats' });
});

test('a mnemonic in the patch is found in the stored bytes', async () => {
  const mnemonic = 'bottom drive obey lake curtain smoke basket hold race lonely fit walk';
  const input = await newInput(PATCH.replace('"row"', `"${mnemonic}"`));
  const failure = await failureOf(decide(input));
  expect(failure.message).toContain('secrets: the patch holds what looks like a mnemonic, line 6.');
  expect(failure.message).not.toContain('bottom drive');
});

test('a patch that changed in the store is not judged', async () => {
  const input = await newInput();
  await writeFile(await store.locate(input.patch.file), PATCH.replace('row', 'col'));
  expect((await failureOf(decide(input))).code).toBe('FILE_CHANGED');
});

test('a patch that is not UTF-8, or larger than the task allows, does not pass', async () => {
  const input = await newInput();
  const binary = { ...input.patch, file: await store.putBytes(Uint8Array.of(0xff, 0xfe, 0x0a)) };
  expect((await failureOf(decide({ ...input, patch: binary }))).message).toContain(
    'patch: the patch is not UTF-8 text, or too large to be read.',
  );
  const task = { ...input.task, maxPatchBytes: 10 };
  expect((await failureOf(decide({ ...input, task }))).message).toContain(
    `surface: the patch is too large: ${PATCH.length} of at most 10 bytes.`,
  );
});

test("a centerless task asks the coordinator for other miners' ideas, and picks none", async () => {
  const input = await newInput();
  const task: Task = { ...input.task, competitionMode: 'centerless' };
  const idea = { ...input, task, proposed_idea: 'Fit each row.', implemented_submission_id: ' ' };
  expect((await decide(idea)).statement).toEqual({
    summary: 'One scale per row.',
    proposedIdea: 'Fit each row.',
  });

  const submission = { task_id: 'task-1', status: 'rejected', proposed_idea: 'Prune.' };
  coordinator.submissions.push(
    { ...submission, id: 'own', miner_hotkey: HOTKEY },
    { ...submission, id: 'blank', miner_hotkey: OTHER, proposed_idea: ' ' },
    { ...submission, id: 'elsewhere', miner_hotkey: OTHER, task_id: 'task-2' },
    { ...submission, id: 'theirs', miner_hotkey: OTHER },
  );
  const failure = await failureOf(decide(idea));
  expect(failure.code).toBe('GATE_NOT_PASSED');
  expect(failure.message).toContain(
    'ideas: other miners have proposed ideas, so the submission whose idea was implemented must be named: theirs.',
  );
  const named = await decide({ ...idea, implemented_submission_id: 'theirs' });
  expect(named.statement.implementedSubmissionId).toBe('theirs');
});

test('a standard task asks the coordinator nothing', async () => {
  await decide(await newInput());
  expect(coordinator.requests).toEqual([]);
});
