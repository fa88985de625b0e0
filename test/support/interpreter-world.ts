/** The interpreter with powers of the test's own: time passes only in `sleep` and where the test says so. */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { ErrorReport } from '../../core/error.js';
import { interpret } from '../../core/interpreter.js';
import type { JsonObject } from '../../core/json.js';
import type { OpenApproval } from '../../core/open-approval.js';
import type { Plan } from '../../core/plan.js';
import type {
  Powers,
  ShieldLimit,
  StepDecision,
  StepOutcome,
  StepRequest,
} from '../../core/powers.js';
import type { RunResult, RunState, StepState } from '../../core/run-state.js';

export class Cancelled extends Error {}

/** No plan of a test starts so many steps. */
const MAX_REQUESTS = 1_000;

export const ok = (outputs: JsonObject = {}): StepOutcome => ({ kind: 'succeeded', outputs });

export const fail = (code: string, retryable = false): StepOutcome & { kind: 'failed' } => ({
  kind: 'failed',
  error: { code, message: `${code} happened` },
  retryable,
});

type MaybeLater<T> = T | Promise<T>;
type Answer = (
  request: StepRequest,
  world: World,
  note: (text: string | null) => void,
) => MaybeLater<StepOutcome>;
type Approve = (approval: OpenApproval, world: World) => MaybeLater<void>;
type Decide = (asked: Asked, world: World) => MaybeLater<StepDecision | null>;

/** What was asked of a person. */
export interface Asked {
  readonly path: string;
  readonly error: ErrorReport;
  readonly untilMs: number | null;
}

/**
 * Runs a plan to its end. Without `decide` nobody is there who could decide for a parked step. A block that cancels
 * what it started cancels the run, unless `nested`, which makes a run ten times slower. With `parts` sub-pipelines have
 * states of their own, as in workflows of their own; the states that are seen are then those of all.
 */
export async function run(
  plan: Plan,
  answer: Answer,
  options: {
    initial?: RunState;
    decide?: Decide;
    approve?: Approve;
    until?: string;
    nested?: boolean;
    parts?: boolean;
  } = {},
): Promise<World & { result: RunResult | 'cancelled' }> {
  const world = new World(
    answer,
    options.decide ??
      (({ path }) => {
        throw new Error(`Nobody decides for ${path}.`);
      }),
    options.approve ??
      (({ path }) => {
        throw new Error(`Nobody approves ${path}.`);
      }),
    options.nested === true ? nestedScopes : oneScope,
  );
  const { initial = { steps: {} }, until } = options;
  const ids = { runId: 'run-1', roundId: 'run-1', ...(until === undefined ? {} : { until }) };
  if (options.parts === true) world.runParts(plan);
  let result: RunResult | 'cancelled';
  try {
    result = await interpret(plan, initial, ids, world.powers);
  } catch (error) {
    if (!(error instanceof Cancelled)) throw error;
    result = 'cancelled';
  }
  return Object.assign(world, { result });
}

/** What can be cancelled, and what is shielded from it. */
export interface Scopes extends Pick<Powers, 'shielded' | 'scoped'> {
  cancelRun(): void;
  /** Throws where this code was cancelled. */
  interrupt(): void;
}

/** `now` tells when a shielded body has used up its time. */
function oneScope(now: () => number): Scopes {
  let isCancelled = false;
  let shields = 0;
  let overdue = (): boolean => false;
  const cancelRun = (): void => {
    isCancelled = true;
  };
  return {
    cancelRun,
    interrupt() {
      if ((isCancelled && shields === 0) || overdue()) throw new Cancelled();
    },
    shielded: async (body, limit) => {
      const around = overdue;
      overdue = clockOf(limit, now);
      shields += 1;
      try {
        return await body();
      } finally {
        shields -= 1;
        overdue = around;
      }
    },
    scoped: (body) => body(cancelRun),
  };
}

/** Whether the time of a shielded body is over; tells its limit so. */
function clockOf(limit: ShieldLimit | undefined, now: () => number): () => boolean {
  if (limit === undefined) return () => false;
  const endsMs = now() + limit.ms;
  return () => {
    if (now() < endsMs) return false;
    limit.passed();
    return true;
  };
}

export interface Scope {
  isCancelled: boolean;
  readonly isOverdue: () => boolean;
  readonly around: Scope | null;
}

const never = (): boolean => false;

/** Which scope the code is in. */
export interface CurrentScope {
  getStore(): Scope | undefined;
  run<T>(scope: Scope, body: () => Promise<T>): Promise<T>;
}

export function nestedScopes(
  now: () => number,
  current: CurrentScope = new AsyncLocalStorage<Scope>(),
): Scopes {
  const run: Scope = { isCancelled: false, isOverdue: never, around: null };
  return {
    cancelRun() {
      run.isCancelled = true;
    },
    interrupt() {
      let scope: Scope | null = current.getStore() ?? run;
      for (; scope !== null; scope = scope.around)
        if (scope.isCancelled || scope.isOverdue()) throw new Cancelled();
    },
    shielded: (body, limit) =>
      current.run({ isCancelled: false, isOverdue: clockOf(limit, now), around: null }, body),
    scoped: (body) => {
      const scope: Scope = {
        isCancelled: false,
        isOverdue: never,
        around: current.getStore() ?? run,
      };
      const cancel = (): void => {
        scope.isCancelled = true;
      };
      return current.run(scope, () => body(cancel));
    },
  };
}

export class World {
  readonly requests: StepRequest[] = [];
  readonly asked: Asked[] = [];
  readonly slept: number[] = [];
  readonly states: RunState[] = [];
  powers: Powers;
  now = Date.parse('2026-01-01T00:00:00Z');
  readonly #scopes: Scopes;

  constructor(
    answer: Answer,
    decide: Decide,
    approve: Approve,
    scopesOf: (now: () => number) => Scopes,
  ) {
    const scopes = scopesOf(() => this.now);
    this.#scopes = scopes;
    const interruptible = (): void => scopes.interrupt();
    this.powers = {
      runStep: async (request, note) => {
        interruptible();
        this.requests.push(request);
        if (this.requests.length > MAX_REQUESTS) throw new Error('The run goes round in circles.');
        const outcome = await answer(request, this, note);
        interruptible();
        return outcome;
      },
      decide: async (path, error, untilMs) => {
        interruptible();
        const asked = { path, error, untilMs };
        this.asked.push(asked);
        const decision = await decide(asked, this);
        interruptible();
        return decision;
      },
      approve: async (approval) => {
        interruptible();
        await approve(approval, this);
        interruptible();
      },
      sleep: async (ms) => {
        interruptible();
        this.slept.push(ms);
        this.now += ms;
      },
      now: () => this.now,
      random: () => 0.5,
      isCancellation: (error) => error instanceof Cancelled,
      shielded: (body, limit) => scopes.shielded(body, limit),
      scoped: (body) => scopes.scoped(body),
      changed: (steps) => this.states.push({ steps: Object.fromEntries(steps) }),
    };
  }

  /** Gives the power to run parts: each with a state of its own. */
  runParts(plan: Plan): void {
    const known = new Map<string, ReadonlyMap<string, StepState>>();
    const powersOf = (prefix: string): Powers => ({
      ...this.powers,
      changed: (steps) => {
        known.set(prefix, steps);
        this.states.push({
          steps: Object.assign({}, ...[...known.values()].map((of) => Object.fromEntries(of))),
        });
      },
      runPart: async ({ path, plan: part, steps, until }) => {
        this.#scopes.interrupt();
        return interpret(
          { irVersion: plan.irVersion, network: plan.network, ...part },
          { steps },
          {
            runId: 'run-1',
            roundId: 'run-1',
            prefix: `${path}/`,
            ...(until === undefined ? {} : { until }),
          },
          powersOf(`${path}/`),
        );
      },
    });
    this.powers = powersOf('');
  }

  /** Cancels the run. */
  cancel(): void {
    this.#scopes.cancelRun();
  }

  get paths(): string[] {
    return this.requests.map((request) => request.path);
  }

  get state(): RunState {
    return this.states.at(-1) ?? { steps: {} };
  }
}
