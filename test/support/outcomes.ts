/**
 * Every outcome of a small plan, by brute force: whatever is under way may end next, and end in each of its ways.
 *
 * Time passes as slowly as it may: what ends takes as long as its limit lets it, unless something beside it is over
 * before. What `isQuick` says ends at once. People take no time.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate } from 'node:timers/promises';
import { interpret } from '../../core/interpreter.js';
import type { JsonObject } from '../../core/json.js';
import { innerBlocks } from '../../core/inner-blocks.js';
import type { Plan, PlanStep } from '../../core/plan.js';
import type { Powers, StepOutcome, StepRequest } from '../../core/powers.js';
import { Cancelled, nestedScopes, type CurrentScope, type Scope } from './interpreter-world.js';

/** `fail`: with a code that a `catch` takes; `stop`: with one that ends the run; `cancel`: the run is cancelled. */
export type End = 'well' | 'fail' | 'stop' | 'cancel';

/** A step that began; `endedMs` is when it ended well, as the run knows. */
export interface Began {
  readonly request: StepRequest;
  readonly beganMs: number;
  endedMs?: number;
}

interface UnderWay {
  readonly ends: readonly End[];
  /** When its time is over; null: it waits for people. */
  readonly overMs: number | null;
  /** Ends at that moment, and not before. */
  readonly isPause: boolean;
  readonly isQuick: boolean;
  end(end: End): void;
}

export interface Steps {
  endsOf(request: StepRequest): readonly End[];
  outputsOf(request: StepRequest): JsonObject;
  isQuick(request: StepRequest): boolean;
}

/** Most ends of one run that are not well, most places of one run where it is chosen what comes next, most runs. */
export interface Bounds {
  readonly bad: number;
  readonly choices: number;
  readonly runs: number;
}

/**
 * Runs the plan once for each outcome within the bounds, until `look`, which sees each, has seen enough. Where the runs
 * do not suffice for all of them they are spread over them.
 */
export async function everyOutcome(
  plan: Plan,
  steps: Steps,
  bounds: Bounds,
  look: (began: readonly Began[], told: readonly string[]) => boolean,
): Promise<void> {
  const open: number[][] = [[]];
  for (let runs = 0; runs < bounds.runs && open.length > 0; runs += 1) {
    const [script = []] = open.splice((runs * 7_919) % open.length, 1);
    const world = new OutcomeWorld(plan, steps, script, bounds, (other) => open.push(other));
    const began = await world.run();
    if (look(began, world.told)) return;
  }
}

/** Scopes of a plan in which nothing runs beside anything: to follow each of its promises would take most of the time. */
class OneAtATime implements CurrentScope {
  #scope: Scope | undefined;
  getStore(): Scope | undefined {
    return this.#scope;
  }
  async run<T>(scope: Scope, body: () => Promise<T>): Promise<T> {
    const around = this.#scope;
    this.#scope = scope;
    try {
      return await body();
    } finally {
      this.#scope = around;
    }
  }
}

function runsBeside(steps: readonly PlanStep[]): boolean {
  return steps.some(
    (step) =>
      ((step.kind === 'parallel' || step.kind === 'foreach') && step.limit > 1) ||
      innerBlocks(step).some((block) => runsBeside(block.steps)),
  );
}

class OutcomeWorld {
  /** What ended, and how. */
  readonly told: string[] = [];
  readonly #began: Began[] = [];
  readonly #underWay = new Map<string, UnderWay>();
  readonly #plan: Plan;
  readonly #steps: Steps;
  readonly #bounds: Bounds;
  readonly #choices: number[];
  readonly #add: (script: number[]) => void;
  readonly #current: AsyncLocalStorage<Scope> | OneAtATime;
  readonly #scopes: ReturnType<typeof nestedScopes>;
  #at = 0;
  #bad = 0;
  #nowMs = 0;
  #pauses = 0;

  constructor(
    plan: Plan,
    steps: Steps,
    script: readonly number[],
    bounds: Bounds,
    add: (script: number[]) => void,
  ) {
    this.#plan = plan;
    this.#steps = steps;
    this.#choices = [...script];
    this.#bounds = bounds;
    this.#add = add;
    this.#current = runsBeside(plan.steps) ? new AsyncLocalStorage<Scope>() : new OneAtATime();
    this.#scopes = nestedScopes(() => this.#nowMs, this.#current);
  }

  async run(): Promise<readonly Began[]> {
    let isOver = false;
    const over = interpret(
      this.#plan,
      { steps: {} },
      { runId: 'r', roundId: 'r' },
      this.#powers(),
    ).then(
      () => null,
      (error: unknown) => error,
    );
    void over.then(() => {
      isOver = true;
    });
    for (;;) {
      await setImmediate();
      if (isOver) break;
      this.#endOne();
    }
    const error = await over;
    // Else it goes on to look at every promise there is.
    if (this.#current instanceof AsyncLocalStorage) this.#current.disable();
    if (error !== null && !(error instanceof Cancelled)) throw error;
    return this.#began;
  }

  #choose(count: number): number {
    if (this.#at >= this.#choices.length && this.#at < this.#bounds.choices) {
      for (let other = 1; other < count; other += 1) this.#add([...this.#choices, other]);
      this.#choices.push(0);
    }
    this.#at += 1;
    return this.#choices[this.#at - 1] ?? 0;
  }

  #endOne(): void {
    const limits = [...this.#underWay.values()].flatMap(({ overMs }) => overMs ?? []);
    const firstMs = Math.min(...limits);
    const mayEnd = [...this.#underWay].filter(
      ([, { isPause, overMs }]) => !isPause || overMs === firstMs,
    );
    const ways = mayEnd.flatMap(([path, one]) =>
      one.ends
        .filter((end) => end === 'well' || this.#bad < this.#bounds.bad)
        .map((end) => ({ path, one, end })),
    );
    const way = ways[this.#choose(ways.length)];
    if (way === undefined) throw new Error('Nothing is under way.');
    const { path, one, end } = way;
    this.told.push(`${path} ${end}`);
    if (end !== 'well') this.#bad += 1;
    if (one.overMs !== null && !one.isQuick) this.#nowMs = Math.max(this.#nowMs, firstMs);
    this.#underWay.delete(path);
    one.end(end);
  }

  /** Waits until it is chosen to end. Throws where it was cancelled meanwhile. */
  async #wait(path: string, how: Omit<UnderWay, 'end'>): Promise<End> {
    this.#scopes.interrupt();
    const end = await new Promise<End>((resolve) => {
      this.#underWay.set(path, { ...how, end: resolve });
    });
    if (end === 'cancel') this.#scopes.cancelRun();
    this.#scopes.interrupt();
    return end;
  }

  async #runStep(request: StepRequest): Promise<StepOutcome> {
    this.#scopes.interrupt();
    const began: Began = { request, beganMs: this.#nowMs };
    this.#began.push(began);
    const end = await this.#wait(request.path, {
      ends: this.#steps.endsOf(request),
      overMs: this.#nowMs + request.options.timeoutMs,
      isPause: false,
      isQuick: this.#steps.isQuick(request),
    });
    if (end === 'fail' || end === 'stop') {
      const code = end === 'fail' ? 'PROGRAM_FAILED' : 'GATE_NOT_PASSED';
      return { kind: 'failed', error: { code, message: 'no' }, retryable: false };
    }
    began.endedMs = this.#nowMs;
    return { kind: 'succeeded', outputs: this.#steps.outputsOf(request) };
  }

  #powers(): Powers {
    return {
      runStep: (request) => this.#runStep(request),
      decide: () => Promise.resolve(null),
      approve: async (approval) => {
        const end = await this.#wait(approval.path, {
          ends: ['well', 'stop', 'cancel'],
          overMs: null,
          isPause: false,
          isQuick: false,
        });
        const { digest } = approval.state;
        if (end === 'well') approval.take({ action: 'approve', digest, by: 'a' }, 'now');
      },
      sleep: async (ms) => {
        this.#pauses += 1;
        await this.#wait(`pause ${this.#pauses}`, {
          ends: ['well', 'cancel'],
          overMs: this.#nowMs + ms,
          isPause: true,
          isQuick: false,
        });
      },
      now: () => this.#nowMs,
      random: () => 0,
      isCancellation: (error) => error instanceof Cancelled,
      shielded: (body, limit) => this.#scopes.shielded(body, limit),
      scoped: (body) => this.#scopes.scoped(body),
      changed: () => {},
    };
  }
}
