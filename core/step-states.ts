import { hasItems, innerBlocks } from './inner-blocks.js';
import { jsonSizeBytes } from './json-size.js';
import type { Json } from './json.js';
import type { PlanStep } from './plan.js';
import { isInside } from './plan-paths.js';
import type { Powers } from './powers.js';
import {
  FINALLY_RESERVE_BYTES,
  MAX_STATE_BYTES,
  type RunState,
  type StepState,
} from './run-state.js';
import { StepEnd } from './step-end.js';

/** The states of a run's steps while it goes: bounded in size, and shown after each change. */
export class StepStates {
  readonly #powers: Powers;
  readonly #steps: Map<string, StepState>;
  #stateBytes: number;

  constructor(
    inputs: { readonly [name: string]: Json },
    { steps }: Pick<RunState, 'steps'>,
    powers: Powers,
  ) {
    this.#powers = powers;
    this.#steps = new Map(Object.entries(steps));
    this.#stateBytes = jsonSizeBytes(inputs);
    for (const [path, state] of this.#steps) this.#stateBytes += sizeOf(path, state);
  }

  get(path: string): StepState | undefined {
    return this.#steps.get(path);
  }

  has(path: string): boolean {
    return this.#steps.has(path);
  }

  /** Throws STATE_TOO_LARGE when a step that goes on makes the state too large. */
  set(path: string, state: StepState): void {
    this.#put(path, state);
    const goesOn = state.status === 'running' || state.status === 'succeeded';
    // `finally` is a reserved id, so only a block of that name has it in its path.
    const reserve = path.includes('/finally/') ? FINALLY_RESERVE_BYTES : 0;
    if (this.#stateBytes > MAX_STATE_BYTES + reserve && goesOn) {
      throw new StepEnd(
        {
          code: 'STATE_TOO_LARGE',
          message: `The state of the run has grown beyond ${MAX_STATE_BYTES} bytes at ${path}.`,
          hint: 'Collect less, or put large values into files and pass their FileRef.',
          step: path,
        },
        'failed',
      );
    }
  }

  /** Shows what a running step waits for; null takes it away. Never throws. */
  note(path: string, text: string | null): void {
    const state = this.#steps.get(path);
    if (state?.status !== 'running' || (state.note ?? null) === text) return;
    const { note: _before, ...rest } = state;
    this.#put(path, text === null ? rest : { ...rest, note: text });
  }

  /** Notes what breaks off a running block. Never throws. */
  breakOff(path: string, broken: NonNullable<StepState['broken']>): void {
    const state = this.#steps.get(path);
    if (state?.status === 'running') this.#put(path, { ...state, broken });
  }

  /** When the `finally` of a running block began, as a time of its own; notes it the first time. Never throws. */
  beginFinally(path: string): string {
    const state = this.#steps.get(path);
    const finallyAt = state?.finallyAt ?? this.iso();
    if (state?.status === 'running' && state.finallyAt === undefined)
      this.#put(path, { ...state, finallyAt });
    return finallyAt;
  }

  recordEnd(path: string, uses: string, startedAt: string, error: unknown): void {
    const now = this.#steps.get(path);
    const end = {
      uses,
      attempts: now?.attempts ?? 0,
      startedAt: now?.startedAt ?? startedAt,
      endedAt: this.iso(),
      ...(now?.approval === undefined ? {} : { approval: now.approval }),
      ...(now?.part === undefined ? {} : { part: now.part }),
    };
    if (error instanceof StepEnd) {
      const report =
        error.report.step === undefined ? { ...error.report, step: path } : error.report;
      this.set(path, { ...end, status: error.ends, error: report });
    } else if (this.#powers.isCancellation(error)) {
      const note = now?.note === undefined ? {} : { note: now.note };
      this.set(path, { ...end, ...note, status: 'cancelled' });
    }
  }

  /** When an iteration has ended only its status and what it collected stay. */
  forgetOutputs(steps: readonly PlanStep[], prefix: string): void {
    for (const step of steps) {
      const path = `${prefix}${step.key}`;
      this.#forget(path);
      if (hasItems(step)) {
        for (let index = 0; this.#steps.has(`${path}#${index}`); index += 1) {
          this.#forget(`${path}#${index}`);
        }
        continue;
      }
      for (const { steps: inner, infix } of innerBlocks(step)) {
        this.forgetOutputs(inner, `${path}${infix}`);
      }
    }
  }

  /** What is known of the steps inside a step, by path. */
  inside(path: string): RunState['steps'] {
    return Object.fromEntries([...this.#steps].filter(([inner]) => isInside(inner, path)));
  }

  forgetInside(path: string): void {
    for (const [inner, state] of this.#steps) {
      if (!isInside(inner, path)) continue;
      this.#stateBytes -= sizeOf(inner, state);
      this.#steps.delete(inner);
    }
  }

  /** Now, as times stand in a state. */
  iso(): string {
    return new Date(this.#powers.now()).toISOString();
  }

  #forget(path: string): void {
    const state = this.#steps.get(path);
    if (state?.outputs === undefined) return;
    const { outputs: _dropped, ...rest } = state;
    this.#stateBytes += sizeOf(path, rest) - sizeOf(path, state);
    this.#steps.set(path, rest);
  }

  #put(path: string, state: StepState): void {
    const before = this.#steps.get(path);
    this.#stateBytes += sizeOf(path, state) - (before === undefined ? 0 : sizeOf(path, before));
    this.#steps.set(path, state);
    this.#powers.changed(this.#steps);
  }
}

/** About what a step takes in the state and, its outputs left out, in the view of the run. */
function sizeOf(path: string, { uses, outputs, error, note, approval }: StepState): number {
  return (
    path.length +
    uses.length +
    150 +
    (note?.length ?? 0) +
    (outputs === undefined ? 0 : jsonSizeBytes(outputs)) +
    (approval === undefined ? 0 : jsonSizeBytes(approval)) +
    (error === undefined ? 0 : jsonSizeBytes({ ...error }))
  );
}
