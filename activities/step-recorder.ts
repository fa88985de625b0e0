/** Writes of each step how it goes and how it has ended into the evidence of its run. */
import { log } from '@temporalio/activity';
import type { Evidence } from '../adapters/evidence/evidence.js';
import type { StepRecord } from '../adapters/evidence/step-journal.js';
import { errorMessage } from '../core/error.js';
import type { StepCall } from '../core/step-call.js';

/** How a step stands, and what else is known of it. */
export interface Standing {
  readonly status: 'running' | 'waiting' | 'succeeded' | 'failed';
  readonly waitingFor?: string;
  readonly [member: string]: unknown;
}

const MAX_UNDER_WAY = 10_000;

export class StepRecorder {
  readonly #evidence: Pick<Evidence, 'writeStep'>;
  /**
   * What was recorded last of starts that have not ended: a step that waits for days is looked at thousands of times, and
   * says the same each time.
   */
  readonly #underWay = new Map<string, string>();

  constructor(evidence: Pick<Evidence, 'writeStep'>) {
    this.#evidence = evidence;
  }

  /** True where it is on record that this start of the step is under way, by this worker. */
  isKnown(call: StepCall): boolean {
    return this.#underWay.has(startOf(call));
  }

  /** A step does not fail for want of it. */
  write(call: StepCall, record: StepRecord & Standing): void {
    if (!this.#isNews(startOf(call), record)) return;
    try {
      this.#evidence.writeStep(call.runId, record);
    } catch (error) {
      this.#underWay.delete(startOf(call));
      log.warn('The evidence of a step could not be written.', { reason: errorMessage(error) });
    }
  }

  #isNews(start: string, { status, waitingFor = '' }: Standing): boolean {
    const before = this.#underWay.get(start);
    this.#underWay.delete(start);
    if (status !== 'running' && status !== 'waiting') return true;
    if (this.#underWay.size >= MAX_UNDER_WAY) this.#underWay.clear();
    const now = `${status} ${waitingFor}`;
    this.#underWay.set(start, now);
    return now !== before;
  }
}

function startOf({ runId, path, start }: StepCall): string {
  return `${runId}\n${path}\n${start}`;
}
