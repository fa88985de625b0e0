/**
 * Reads what a program writes while it runs: its numbers, whether its stop condition holds, and whether it hangs.
 * All of it is a stranger's: each look reads a bounded part, and nothing but plain files.
 */
import { evaluate, ExpressionError } from '../core/evaluate.js';
import type { ProgramFiles, ProgramWatch } from '../core/host-protocol.js';
import { isJsonObject, type Json, type JsonObject } from '../core/json.js';
import { createTrainingProgress } from '../core/training-progress.js';
import { followLines, openRegular } from './output-reader.js';

export interface ProgramLook {
  /** For people, as core/training-progress.ts tells it. */
  readonly status: { readonly [name: string]: Json };
  /** The last value of each number. */
  readonly metrics: { readonly [name: string]: number };
  /** No sign of life for `stalledAfterMs`. */
  readonly warning?: string;
  /** The host should end the program: its stop condition holds, or it hangs. */
  readonly verdict?: 'rule' | 'stalled';
}

export interface ProgramWatcher {
  /** Reads what was added since the last look. One look at a time; times that go back are taken for no time. */
  look(nowMs: number): Promise<ProgramLook>;
  /** What a later watcher of the same program needs to go on: for progress.json. */
  snapshot(): Json;
}

/**
 * Of the time between two looks at most so much counts as silence: while the machine sleeps, or no host looks, the
 * program may not have run, or nobody knows whether it did.
 */
const LONGEST_GAP_MS = 60_000;

const SNAPSHOT_VERSION = 1;

/** Creates a watcher; with the snapshot of an earlier one it goes on where that was. */
export function createProgramWatcher(
  files: Pick<ProgramFiles, 'log' | 'metricsFile'>,
  watch: ProgramWatch | undefined,
  snapshot: Json | null,
  startedAtMs: number,
): ProgramWatcher {
  const earlier = isJsonObject(snapshot) ? snapshot : {};
  const log = followLines(files.log, readCount(earlier['logByte']));
  const metricsFile = followLines(files.metricsFile, readCount(earlier['metricsByte']));
  const progress = createTrainingProgress(watch?.patterns);
  // Latest values and the phase are themselves what a metrics file says.
  if (isJsonObject(earlier['latest']))
    progress.readMetrics(`${JSON.stringify(earlier['latest'])}\n`);
  let held = readCount(earlier['held']);
  let silentMs = readCount(earlier['silentMs']);
  let signs = isJsonObject(earlier['signs']) ? JSON.stringify(earlier['signs']) : '';
  let lastLookMs = Math.max(startedAtMs, readCount(earlier['lookedAtMs']));
  let rate = readRate(earlier['rate']);
  let phase = isJsonObject(earlier['latest']) ? earlier['latest']['phase'] : undefined;

  /** What changes while a program is alive; not when a hole is made in its log. */
  async function readSigns(): Promise<string> {
    const [output, metrics] = await Promise.all([statOf(files.log), statOf(files.metricsFile)]);
    return JSON.stringify({
      logBytes: output?.size ?? 0,
      metricsBytes: metrics?.size ?? 0,
      metricsMs: Math.floor(metrics?.mtimeMs ?? 0),
    } satisfies JsonObject);
  }

  function holdsStopCondition(metrics: { readonly [name: string]: number }): boolean {
    if (watch?.stopWhen === undefined) return false;
    try {
      return evaluate(watch.stopWhen.expr, { metrics: { ...metrics } }) === true;
    } catch (error) {
      // A metric that is not there yet: the condition does not hold.
      if (error instanceof ExpressionError) return false;
      throw error;
    }
  }

  function status(metrics: { readonly [name: string]: number }, nowMs: number): JsonObject {
    const told = progress.status();
    const { step, total } = metrics;
    if (step === undefined || total === undefined) return told;
    // A program that went on from a checkpoint did not make its first steps now; one that began anew did.
    if (rate === null || step < rate.step) rate = { step, atMs: nowMs };
    if (told['eta'] === undefined && step > rate.step && total >= step && nowMs > rate.atMs) {
      const msPerStep = (nowMs - rate.atMs) / (step - rate.step);
      told['eta'] = Math.round(((total - step) * msPerStep) / 100) / 10;
    }
    return told;
  }

  return {
    async look(nowMs) {
      const before = progress.readings();
      const signsNow = await readSigns();
      for (const text of await log.readNew()) progress.readOutput(text);
      for (const text of await metricsFile.readNew()) progress.readMetrics(text);
      const metrics = progress.metrics();
      const told = status(metrics, nowMs);
      phase = told['phase'];

      if (signsNow !== signs) silentMs = 0;
      else silentMs += Math.min(Math.max(nowMs - lastLookMs, 0), LONGEST_GAP_MS);
      signs = signsNow;
      lastLookMs = Math.max(lastLookMs, nowMs);

      if (progress.readings() > before) held = holdsStopCondition(metrics) ? held + 1 : 0;
      const isRule = watch?.stopWhen !== undefined && held >= Math.max(1, watch.stopWhen.patience);
      const { stalledAfterMs } = watch ?? {};
      const isSilent = stalledAfterMs !== undefined && silentMs >= stalledAfterMs;
      const isStalled = stalledAfterMs !== undefined && silentMs >= 2 * stalledAfterMs;
      return {
        status: told,
        metrics,
        ...(isSilent && {
          warning: `no output and no new metric for ${Math.floor(silentMs / 1_000)} s`,
        }),
        ...(isRule ? { verdict: 'rule' } : isStalled ? { verdict: 'stalled' } : {}),
      };
    },

    snapshot: () => ({
      version: SNAPSHOT_VERSION,
      // From the beginning of the line that is not yet whole.
      logByte: log.lineStart(),
      metricsByte: metricsFile.lineStart(),
      latest: { ...progress.metrics(), ...(phase !== undefined && { phase }) },
      held,
      silentMs,
      signs: signs === '' ? null : (JSON.parse(signs) as Json),
      lookedAtMs: lastLookMs,
      rate: rate === null ? null : { ...rate },
    }),
  };
}

async function statOf(file: string): Promise<{ size: number; mtimeMs: number } | null> {
  const handle = await openRegular(file);
  if (handle === null) return null;
  try {
    return await handle.stat();
  } finally {
    await handle.close();
  }
}

/** A count in a snapshot; 0 for what is none. */
function readCount(value: Json | undefined): number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : 0;
}

function readRate(value: Json | undefined): { step: number; atMs: number } | null {
  if (value === undefined || !isJsonObject(value)) return null;
  const { step, atMs } = value;
  return typeof step === 'number' && typeof atMs === 'number' ? { step, atMs } : null;
}
