/**
 * Decisions of people for parked steps. An id counts once, also where the run goes on from a state; a decision that
 * gives outputs has them checked by the step type first, and comes too late when somebody else has decided meanwhile.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  condition,
  proxyActivities,
} from '@temporalio/workflow';
import { errorMessage } from '../core/error.js';
import { isJsonObject, type JsonObject } from '../core/json.js';
import { jsonSizeBytes } from '../core/json-size.js';
import type { StepDecision } from '../core/powers.js';
import { MAX_OUTPUT_BYTES, type RunState, type StepState } from '../core/run-state.js';
import { clipSummary } from './clip-summary.js';
import {
  CHECK_OUTPUTS_ACTIVITY,
  type CheckOutputsArgs,
  type Decision,
  type DecisionResult,
} from './contract.js';

/** Most ids of decisions that a run remembers; beyond that it takes none. */
const MAX_DECISIONS = 1_000;

const MAX_ID_LENGTH = 200;

interface Waiter {
  decision: StepDecision | null;
}

export class Decisions {
  readonly #steps: () => ReadonlyMap<string, StepState>;
  readonly #counted: Map<string, { readonly step: string; readonly action: string }>;
  readonly #waiters = new Map<string, Waiter>();

  constructor(initial: RunState['decisions'], steps: () => ReadonlyMap<string, StepState>) {
    this.#steps = steps;
    this.#counted = new Map(Object.entries(initial ?? {}));
    // A run that goes on from a state may be asked before its interpreter has come to where it waits.
    for (const [path, { status, approval }] of steps())
      if (status === 'parked' && approval === undefined)
        this.#waiters.set(path, { decision: null });
  }

  /** Those that were counted, by id. */
  get counted(): NonNullable<RunState['decisions']> {
    return Object.fromEntries(this.#counted);
  }

  /** False while a decision is counted that its step has not yet taken up. */
  get areTaken(): boolean {
    return [...this.#waiters.values()].every(({ decision }) => decision === null);
  }

  /** The power `decide`. */
  async wait(path: string, untilMs: number | null): Promise<StepDecision | null> {
    const waiter = this.#waiters.get(path) ?? { decision: null };
    this.#waiters.set(path, waiter);
    const isDecided = (): boolean => waiter.decision !== null;
    try {
      if (untilMs === null) await condition(isDecided);
      else if (untilMs > Date.now()) {
        const summary = clipSummary(`${path} asks a person`);
        await condition(isDecided, untilMs - Date.now(), { summary });
      }
      return waiter.decision;
    } finally {
      if (this.#waiters.get(path) === waiter) this.#waiters.delete(path);
    }
  }

  /** True when the id was counted before, for the same; throws when there is none, or when it was for something else. */
  isCounted({ id, step, action }: { readonly [key: string]: unknown }): boolean {
    if (typeof step !== 'string' || step === '')
      throw invalid('A decision names a step by its path.');
    if (typeof id !== 'string' || id === '' || id.length > MAX_ID_LENGTH)
      throw invalid(`A decision has an id, a text of at most ${MAX_ID_LENGTH} characters.`);
    const before = this.#counted.get(id);
    if (before === undefined) return false;
    if (before.step === step && before.action === action) return true;
    throw invalid(
      `The decision ${id} was counted before, as \`${before.action}\` for ${before.step}.`,
      'Give every decision an id of its own.',
    );
  }

  assertRoom(): void {
    if (this.#counted.size >= MAX_DECISIONS)
      throw invalid(`The run has counted ${MAX_DECISIONS} decisions and takes no more.`);
  }

  count(id: string, entry: { readonly step: string; readonly action: string }): void {
    this.#counted.set(id, entry);
  }

  /** Throws what is wrong with what a client sent as a decision; nothing of it enters the history then. */
  validate(decision: unknown): void {
    if (!isObject(decision)) throw invalid('A decision has `id`, `step`, `action` and `by`.');
    const { action, outputs } = decision;
    if (action !== 'retry' && action !== 'value' && action !== 'fail')
      throw invalid(
        `\`${typeof action === 'string' ? action : typeof action}\` is no decision.`,
        'Decide `retry`, `value` with outputs, or `fail`.',
      );
    if (this.isCounted(decision)) return;
    const step = String(decision['step']);
    this.#assertParked(step);
    this.assertRoom();
    if (action !== 'value') return;
    if (!isObject(outputs))
      throw invalid(
        '`value` needs `outputs`, a map from the names of the outputs to their values.',
        `\`adit steps\` shows what ${this.#steps().get(step)?.uses ?? 'a step'} returns.`,
      );
    const sizeBytes = jsonSizeBytes(outputs);
    if (sizeBytes > MAX_OUTPUT_BYTES)
      throw invalid(
        `The outputs are ${sizeBytes} bytes; at most ${MAX_OUTPUT_BYTES} may travel.`,
        'Large values belong into a file; pass its FileRef.',
      );
  }

  /** Counts a decision that was validated, and lets the step go on. */
  async take(decision: Decision): Promise<DecisionResult> {
    const { id, step, action } = decision;
    const result = { step, action };
    if (this.#counted.has(id)) return { ...result, repeated: true };
    const waiter = this.#waiters.get(step);
    const answer: StepDecision =
      action === 'value'
        ? { action, outputs: await this.#checked(step, decision.outputs ?? {}) }
        : { action };
    // The outputs were checked elsewhere: the same decision may have come twice, and others may have been faster.
    if (this.#counted.has(id)) return { ...result, repeated: true };
    if (waiter === undefined || waiter !== this.#waiters.get(step) || waiter.decision !== null)
      throw invalid(`${step} no longer waits: somebody else decided, or its time was over.`);
    this.count(id, { step, action });
    waiter.decision = answer;
    return { ...result, repeated: false };
  }

  #assertParked(step: string): void {
    const waiter = this.#waiters.get(step);
    if (waiter !== undefined && waiter.decision === null) return;
    const parked = [...this.#waiters].flatMap(([path, one]) => (one.decision ? [] : [path])).sort();
    const hint =
      parked.length === 0
        ? 'No step of this run waits for a decision now.'
        : `These wait: ${parked.join(', ')}.`;
    const { status, approval } = this.#steps().get(step) ?? {};
    if (status === 'parked' && approval !== undefined)
      throw invalid(
        `${step} waits for approval, not for a decision.`,
        `Look at it with: adit approve RUN ${step}`,
      );
    if (status === undefined) throw invalid(`The run has come by no step \`${step}\`.`, hint);
    throw invalid(
      `${step} is not parked${status === 'parked' ? ' any more' : `: it is ${status}`}.`,
      hint,
    );
  }

  /** The outputs as the step type takes them. */
  async #checked(step: string, outputs: JsonObject): Promise<JsonObject> {
    const uses = this.#steps().get(step)?.uses ?? '';
    const { [CHECK_OUTPUTS_ACTIVITY]: check } = proxyActivities<
      Record<string, (args: CheckOutputsArgs) => Promise<unknown>>
    >({
      scheduleToCloseTimeout: '5m',
      startToCloseTimeout: '20s',
      summary: clipSummary(`check the outputs that a person gives for ${step}`),
    });
    try {
      // A step of a `finally` can be parked in a run that was cancelled.
      const checked = await CancellationScope.nonCancellable(async () =>
        check?.({ uses, outputs }),
      );
      return isJsonObject(checked) ? checked : {};
    } catch (error) {
      if (!(error instanceof ActivityFailure)) throw error;
      const { cause } = error;
      if (!(cause instanceof ApplicationFailure))
        throw invalid(`The outputs could not be checked: ${errorMessage(cause ?? error)}`);
      const hint = hintOf(cause);
      throw invalid(cause.message, hint ?? `\`adit steps ${uses}\` shows what the step returns.`);
    }
  }
}

export function isObject(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function hintOf({ details }: ApplicationFailure): string | undefined {
  const first: unknown = details?.[0];
  if (typeof first !== 'object' || first === null || !('hint' in first)) return undefined;
  return typeof first.hint === 'string' ? first.hint : undefined;
}

export function invalid(message: string, hint?: string): ApplicationFailure {
  return refusal('DECISION_INVALID', message, hint);
}

export function refusal(code: string, message: string, hint?: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, code, ...(hint === undefined ? [] : [{ hint }]));
}
