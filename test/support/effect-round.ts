/**
 * A round's effects against the devnet's own coordinator, without Temporal: claim, submit, give back. Steps are driven
 * as interpreter and server drive them, each try by a worker of its own, so that nothing is remembered but what is on
 * the disk.
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cryptoWaitReady } from '@polkadot/util-crypto';
import type { Adapters } from '../../activities/adapters.js';
import { coordinatorCancelClaim } from '../../activities/coordinator-cancel-claim.js';
import { coordinatorClaim } from '../../activities/coordinator-claim.js';
import { coordinatorSubmit } from '../../activities/coordinator-submit.js';
import type { StepContext } from '../../activities/step-type.js';
import { createCoordinator } from '../../adapters/coordinator/coordinator.js';
import { createEvidence } from '../../adapters/evidence/evidence.js';
import { loadSettings } from '../../adapters/settings/settings.js';
import { createFolderStore } from '../../adapters/store/store.js';
import { createWallet } from '../../adapters/wallet/wallet.js';
import type { Claim, Submission } from '../../compiler/values.js';
import type { EffectRecord } from '../../core/effect-record.js';
import { NotYet, STEP_ERRORS, StepError } from '../../core/error.js';
import type { Json, JsonObject } from '../../core/json.js';
import {
  runCoordinator,
  type RunningCoordinator,
} from '../../devnet/testing/running-coordinator.js';
import { makeWork, type Work } from './coordinator-round.js';

const { key } = JSON.parse(
  readFileSync(
    new URL('../fixtures/coordinator/generated-signing-vectors.json', import.meta.url),
    'utf8',
  ),
) as { key: { mnemonic: string; ss58_address_42: string } };

const HOTKEY = key.ss58_address_42;

/** Seconds; the devnet's own signature window is the same. */
const WINDOW_SECONDS = 2;
const LAG_SECONDS = 1;
const MOST_STARTS = 12;

export type Ended<Value> = { readonly value: Value } | { readonly error: StepError };

export interface RoundEnd {
  readonly claim: Ended<Claim>;
  readonly submission: Ended<Submission> | null;
  /** What giving the claim back said. */
  readonly givenBack: { readonly cancelled: boolean; readonly reason: string };
}

export interface EffectRound {
  readonly coordinator: RunningCoordinator;
  readonly stateDir: string;
  /** What steps reported, in order. */
  readonly progress: { readonly [key: string]: Json }[];
  fault(fault: JsonObject): Promise<void>;
  fired(): Promise<string[]>;
  held(): Promise<number>;
  release(): Promise<void>;
  /** Requests by route since the start. */
  requests(): Promise<{
    [route: string]: { requests: number; statuses: { [status: string]: number } };
  }>;
  claim(run?: string): Promise<Ended<Claim>>;
  submit(claim: Claim, run?: string): Promise<Ended<Submission>>;
  giveBack(claim: Claim | null, submission: Submission | null): Promise<RoundEnd['givenBack']>;
  /** Claim, submit and what `finally` does; `run` of the same round, the first one by default. */
  play(run?: string): Promise<RoundEnd>;
  effect(step: 'claim' | 'submit' | 'cancel'): Promise<EffectRecord | null>;
  /** What the coordinator holds of our hotkey. */
  counted(): { submissions: JsonObject[]; claims: JsonObject[]; active: number };
  close(): Promise<void>;
}

export async function startEffectRound(
  devnet: JsonObject = {},
  environment: Record<string, string> = {},
): Promise<EffectRound> {
  await cryptoWaitReady();
  const coordinator = await runCoordinator();
  await coordinator.set({ timestampWindowSeconds: WINDOW_SECONDS, ...devnet });
  const slug = 'tiny-ternary-frontier';
  const taskId = await coordinator.addTask({ slug });
  const folder = await mkdtemp(path.join(tmpdir(), 'adit-effects-'));
  const hotkeyFile = path.join(folder, 'hotkey');
  await writeFile(hotkeyFile, JSON.stringify({ ss58Address: HOTKEY, secretPhrase: key.mnemonic }));
  const settings = loadSettings(
    {
      HOME: folder,
      ADIT_STATE_DIR: path.join(folder, 'state'),
      ADIT_COORDINATOR_URL: coordinator.url,
      ADIT_HOTKEY_FILE: hotkeyFile,
      ADIT_SIGNATURE_WINDOW_SECONDS: String(WINDOW_SECONDS),
      ADIT_COORDINATOR_LAG_SECONDS: String(LAG_SECONDS),
      ADIT_CLAIM_MARGIN_SECONDS: '1',
      ...environment,
    },
    folder,
  );
  const freshAdapters = (): Adapters => {
    const wallet = createWallet(settings);
    const known: Partial<Adapters> = {
      settings,
      wallet,
      store: createFolderStore(path.join(folder, 'store')),
      evidence: createEvidence(settings.stateDir),
      coordinator: createCoordinator(settings, wallet, { timeoutMs: 10_000 }),
    };
    return known as Adapters;
  };
  const made = await makeWork({ adapters: freshAdapters() });
  const work: Work = {
    ...made,
    task: { ...made.task, id: taskId, slug },
    verdict: { ...made.verdict, taskId },
  };
  const progress: { readonly [key: string]: Json }[] = [];

  async function drive<Value>(
    step: string,
    runId: string,
    run: (context: StepContext) => Promise<Value>,
  ): Promise<Ended<Value>> {
    for (let start = 1, attempt = 1; ; attempt += 1) {
      try {
        const context: StepContext = {
          call: {
            runId,
            roundId: 'round-1',
            pipeline: 'test',
            path: step,
            start,
            network: { coordinator: settings.coordinatorUrl ?? '', hotkey: HOTKEY },
          },
          firstAttempt: attempt === 1 && start === 1,
          attempt,
          scheduledAtMs: Date.now(),
          deadlineMs: null,
          signal: new AbortController().signal,
          progress: (status) => progress.push(status),
          adapters: freshAdapters(),
        };
        return { value: await run(context) };
      } catch (error) {
        if (error instanceof NotYet) {
          await sleep(error.afterMs);
          continue;
        }
        if (!(error instanceof StepError)) throw error;
        if (!STEP_ERRORS[error.code].retryable || start === MOST_STARTS) return { error };
        await sleep(Math.max(100, error.retryAfterMs ?? 0));
        start += 1;
        attempt = 0;
      }
    }
  }

  const admin = async (method: string, at: string, body?: JsonObject): Promise<JsonObject> => {
    const { status, text, json } = await coordinator.admin(method, `/devnet/${at}`, body);
    if (status !== 200) throw new Error(text);
    return json as JsonObject;
  };

  const round: EffectRound = {
    coordinator,
    stateDir: settings.stateDir,
    progress,
    async fault(fault) {
      await admin('POST', 'faults', fault);
    },
    async fired() {
      const { fired } = (await admin('GET', 'faults/fired')) as { fired: { kind: string }[] };
      return fired.map(({ kind }) => kind);
    },
    held: async () => Number((await admin('GET', 'faults/fired'))['held']),
    async release() {
      await admin('POST', 'faults/release');
    },
    async requests() {
      const counters = await admin('GET', 'counters');
      return counters['coordinator'] as Awaited<ReturnType<EffectRound['requests']>>;
    },
    claim: (run = 'round-1') =>
      drive('claim', run, async (context) => {
        const { task, verdict } = work;
        const input = { task, verdict, description: 'tiny' };
        return (await coordinatorClaim.run(input, context)).claim;
      }),
    submit: (claim, run = 'round-1') =>
      drive('submit', run, async (context) => {
        const { submission } = await coordinatorSubmit.run({ ...work, claim }, context);
        return submission;
      }),
    async giveBack(claim, submission) {
      const ended = await drive('cancel', 'round-1', (context) =>
        coordinatorCancelClaim.run(
          {
            ...(claim === null ? {} : { claim }),
            ...(submission === null ? {} : { submission }),
          },
          context,
        ),
      );
      if ('error' in ended) throw ended.error;
      return ended.value;
    },
    async play(run) {
      const claim = await round.claim(run);
      const made = 'value' in claim ? claim.value : null;
      const submission = made === null ? null : await round.submit(made, run);
      const stored = submission !== null && 'value' in submission ? submission.value : null;
      return { claim, submission, givenBack: await round.giveBack(made, stored) };
    },
    effect: (step) => createEvidence(settings.stateDir).readEffect('round-1', step),
    counted() {
      const own = { task_id: taskId, miner_hotkey: HOTKEY };
      const claims = coordinator.state.claims.list(own);
      const active = claims.filter(({ status }) => status === 'active').length;
      const submissions = coordinator.state.submissions.list(own);
      return {
        claims: JSON.parse(JSON.stringify(claims)) as JsonObject[],
        submissions: JSON.parse(JSON.stringify(submissions)) as JsonObject[],
        active,
      };
    },
    async close() {
      await admin('DELETE', 'faults').catch(() => undefined);
      await coordinator.close();
      await rm(folder, { recursive: true, force: true, maxRetries: 10 });
    },
  };
  return round;
}
