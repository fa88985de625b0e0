/** The validator's loop (protocol 4.1): scan, replay every job one after another, post each result, sleep. */
import { setTimeout as sleep } from 'node:timers/promises';
import { listJobs, readJob } from './job.js';
import { postResult } from './result-posting.js';
import { replay, type ReplaySettings } from './replay.js';
import type { CoordinatorClient } from './coordinator-client.js';

export interface Validator {
  readonly client: CoordinatorClient;
  readonly replaySettings: ReplaySettings;
  /** One line for the operator. */
  readonly report: (line: string) => void;
}

/**
 * One cycle: replays every job of a scan. Returns how many results were posted.
 * Whatever goes wrong is thrown and ends this cycle; jobs without a result come back in the next scan.
 */
export async function runCycle({ client, replaySettings, report }: Validator): Promise<number> {
  const { signal } = replaySettings;
  const reply = await client.scan(signal);
  let posted = 0;
  for (const payload of reply === undefined ? [] : listJobs(reply)) {
    const job = await readJob(payload, (submissionId) => client.detail(submissionId, signal));
    report(`job ${job.jobId}: replaying submission ${job.submissionId}`);
    const outcome = await replay(job, replaySettings);
    await postResult(client, job, outcome, signal);
    const metrics = Object.entries(outcome.observedMetrics).map(
      ([name, value]) => ` ${name}=${value}`,
    );
    report(`job ${job.jobId}: ${outcome.status}${metrics.join('')}. ${outcome.notes}`);
    posted += 1;
  }
  return posted;
}

/** Cycles until the signal is aborted. A failed cycle is reported and followed by the next. */
export async function runLoop(validator: Validator, intervalMs: number): Promise<void> {
  const { signal } = validator.replaySettings;
  let lastProblem = '';
  while (!signal.aborted) {
    try {
      await runCycle(validator);
      lastProblem = '';
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      // An outage of minutes is one line, not one a second.
      if (!signal.aborted && problem !== lastProblem) {
        validator.report(`cycle failed: ${problem}`);
        lastProblem = problem;
      }
    }
    try {
      await sleep(intervalMs, undefined, { signal });
    } catch {
      return;
    }
  }
}
