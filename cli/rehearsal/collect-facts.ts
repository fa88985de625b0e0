/** What is known of a rehearsed run when it is over: from the coordinator first, then from the audit and the host's records. */
import {
  endTimeOf,
  readExitCode,
  readLivePrograms,
  readRecordedStarts,
} from '../../adapters/processes/recorded-starts.js';
import { createEvidence } from '../../adapters/evidence/evidence.js';
import { isJsonObject, type JsonObject } from '../../core/json.js';
import type { EffectRecord } from '../../core/effect-record.js';
import type { RunView } from '../../core/run-view.js';
import type { RunEnd, RunFacts } from '../../rehearse/facts.js';
import type { Site } from './site.js';

export interface PlayedRun {
  readonly roundId: string;
  /** All runs of the round, oldest first. */
  readonly runIds: readonly string[];
  /** The run whose first steps count for these too; null without one. */
  readonly baseId: string | null;
  /** Of the last one; null: it had not ended. */
  readonly end: RunEnd | null;
  readonly view: RunView | null;
  readonly hotkey: string;
}

export async function collectFacts(site: Site, run: PlayedRun): Promise<RunFacts> {
  const { stateDir } = site.settings;
  const evidence = createEvidence(stateDir);
  const effects = await evidence.readEffects(run.roundId);
  const steps = run.view?.steps ?? [];
  const before = run.baseId === null ? [] : [run.baseId];
  const records = (
    await Promise.all([...before, ...run.runIds].map((id) => evidence.readSteps(id)))
  ).flat();
  const ours = (one: JsonObject): boolean => one['miner_hotkey'] === run.hotkey;
  const claims = ((await site.get('/api/v1/claims')) as JsonObject[]).filter(ours);
  const submissions = ((await site.get('/api/v1/submissions')) as JsonObject[]).filter(ours);
  const paths = new Set([
    ...steps.map(({ path }) => path),
    ...records.map((record) => String(record['path'])),
  ]);
  const starts = await Promise.all(run.runIds.map((id) => readRecordedStarts(stateDir, id, paths)));
  return {
    end: run.end,
    steps: steps.map(({ path, uses, status }) => ({ path, uses, status })),
    effects: effects.map(({ stepPath, what, settled, alarms, tries }) => ({
      stepPath,
      what,
      settled: settled !== undefined || tries.length === 0,
      alarms,
    })),
    claims: claims.map((claim) => ({
      id: String(claim['id']),
      status: String(claim['status']),
      expiresAt: typeof claim['expires_at'] === 'string' ? claim['expires_at'] : null,
    })),
    submissions: submissions.map((submission) => {
      const claimId = typeof submission['claim_id'] === 'string' ? submission['claim_id'] : null;
      const taskId = String(submission['task_id']);
      return {
        id: String(submission['id']),
        claimId,
        taskId,
        effectKey: keyOf(effects, claimId),
        passed: records.some((record) => isPass(record, taskId)),
      };
    }),
    counted: toCounts((await site.get('/effects')) as JsonObject),
    programs: starts.flat().map((start) => ({
      stepPath: start.stepPath,
      beganAtMs: start.startedAtMs,
      endedAtMs: endTimeOf(start),
      failed: (readExitCode(start) ?? 0) !== 0,
    })),
    left: (await readLivePrograms(stateDir)).length,
  };
}

/** The local network puts a member that is no count into every reply, as a real one may. */
function toCounts(reply: JsonObject): RunFacts['counted'] {
  const counts = Object.entries(reply).flatMap(([name, times]) =>
    typeof times === 'number' ? [[name, times] as const] : [],
  );
  return Object.fromEntries(counts);
}

/** The effect that submitted on a claim, by the audit. */
function keyOf(effects: readonly EffectRecord[], claimId: string | null): string | null {
  const found = effects.find(({ what, intent, tries }) => {
    const claims = [intent, ...tries.map(({ about }) => about)].map((about) => about?.['claimId']);
    return what === 'submission' && claims.includes(claimId);
  });
  return found === undefined ? null : `${found.roundId} ${found.stepPath}`;
}

function isPass(record: JsonObject, taskId: string): boolean {
  const { uses, status, outputs } = record;
  if (uses !== 'gate.evidence' || status !== 'succeeded' || !isJsonObject(outputs)) return false;
  const verdict = outputs['verdict'];
  return isJsonObject(verdict) && verdict['taskId'] === taskId;
}
