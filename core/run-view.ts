import type { ErrorReport } from './error.js';
import { hasItems, innerBlocks } from './inner-blocks.js';
import type { Json } from './json.js';
import type { ApprovalState } from './open-approval.js';
import type { Plan, PlanStep } from './plan.js';
import type { RunResult, RunStatus, StepState, StepStatus } from './run-state.js';

/** The states of a run's steps by path. */
type StepStates = ReadonlyMap<string, StepState>;

/** One step as `adit show` prints it. */
export interface StepView {
  readonly path: string;
  readonly uses: string;
  readonly status: StepStatus;
  readonly attempts: number;
  readonly startedAt?: string;
  readonly endedAt?: string;
  readonly error?: ErrorReport;
  /** What it waits for, for people. */
  readonly note?: string;
  /** Of an approval: who has approved what, and until when it can be. */
  readonly approval?: ApprovalState;
  /** What is left of the block runs, or ran, as a part of the run. */
  readonly part?: true;
  /** For a parked step: the command that decides, without the name of the program. */
  readonly decide?: string;
}

/** A run as people and programs see it. */
export interface RunView {
  readonly runId: string;
  readonly roundId: string;
  readonly pipeline: string;
  readonly status: RunStatus;
  /** The step of the outermost block that is under way, or the last one that was. */
  readonly stage: string;
  readonly outputs: { readonly [name: string]: Json };
  readonly steps: readonly StepView[];
  readonly error?: ErrorReport;
  /** Root of the bundle that the run left, 64 lower-case hex digits; absent while it runs, and where none was written. */
  readonly bundle?: string;
}

/**
 * Most steps of items that are listed although they were not reached: a view must fit into one payload, and a long
 * list over a long block has more of them than that.
 */
const MAX_PENDING_IN_ITEMS = 1_000;

/**
 * The view of a run, or of the part of it whose steps' paths begin with `prefix`, with the steps in document order;
 * those not reached yet are `pending`. The steps of a called pipeline are in the view of that part.
 */
export function toRunView(
  plan: Plan,
  states: StepStates,
  run: { readonly runId: string; readonly roundId: string },
  result: RunResult,
  prefix = '',
): RunView {
  return {
    ...run,
    pipeline: plan.pipeline,
    status: result.status,
    stage: stageOf(plan, states, prefix),
    outputs: result.outputs,
    steps: stepViews(plan.steps, prefix, {
      runId: run.runId,
      states,
      itemCounts: itemCountsOf(states),
      inItem: false,
      isOver: false,
      blocks: onDemand(() => blocksOf(states)),
      left: { pending: MAX_PENDING_IN_ITEMS },
    }),
    ...(result.error === undefined ? {} : { error: result.error }),
  };
}

/** The key of the outermost step that is running, else of the last one that began. */
export function stageOf(plan: Plan, states: StepStates, prefix = ''): string {
  let stage = '';
  for (const step of plan.steps) {
    const status = states.get(`${prefix}${step.key}`)?.status;
    if (status === 'running' || status === 'parked') return step.key;
    if (status !== undefined && status !== 'skipped') stage = step.key;
  }
  return stage;
}

interface Listing {
  readonly runId: string;
  readonly states: StepStates;
  /** Items that are known of each foreach, by its path. */
  readonly itemCounts: ReadonlyMap<string, number>;
  readonly inItem: boolean;
  /** The item has succeeded: nothing in it is pending. Of a long run its steps are not known any more. */
  readonly isOver: boolean;
  /** Paths inside of which the states know something. */
  readonly blocks: () => ReadonlySet<string>;
  /** Shared by the whole view. */
  readonly left: { pending: number };
}

function stepViews(steps: readonly PlanStep[], prefix: string, listing: Listing): StepView[] {
  return steps.flatMap((step) => {
    const path = `${prefix}${step.key}`;
    const isAbsent = !listing.states.has(path);
    if (isAbsent && (listing.isOver || (listing.inItem && --listing.left.pending < 0))) return [];
    const uses = step.kind === 'step' ? step.uses : step.kind;
    return [viewOf(path, uses, listing), ...innerViews(step, path, listing)];
  });
}

/** A run that began from a state may know the steps of an item, or a later item, before the item itself. */
function itemCountsOf(states: StepStates): Map<string, number> {
  const counts = new Map<string, number>();
  for (const path of states.keys()) {
    if (!path.includes('#')) continue;
    for (const match of path.matchAll(/#(\d+)(?=\/|$)/g)) {
      const block = path.slice(0, match.index);
      counts.set(block, Math.max(counts.get(block) ?? 0, Number(match[1]) + 1));
    }
  }
  return counts;
}

function blocksOf(states: StepStates): ReadonlySet<string> {
  const blocks = new Set<string>();
  for (const path of states.keys()) {
    for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1))
      blocks.add(path.slice(0, at));
  }
  return blocks;
}

/** Most plans call nothing, and a view is made at every step. */
function onDemand<T>(make: () => T): () => T {
  let made: { readonly value: T } | null = null;
  return () => (made ??= { value: make() }).value;
}

function innerViews(step: PlanStep, path: string, listing: Listing): StepView[] {
  if (step.kind === 'pipeline') {
    // A state that knows of them: the part has not begun yet, or was put together from records.
    return listing.blocks().has(path) ? stepViews(step.called.steps, `${path}/`, listing) : [];
  }
  return innerBlocks(step).flatMap(({ steps, infix }) => {
    if (!hasItems(step)) return stepViews(steps, `${path}${infix}`, listing);
    const views: StepView[] = [];
    const turn = step.kind === 'repeat' ? 'iteration' : 'item';
    for (let index = 0; index < (listing.itemCounts.get(path) ?? 0); index += 1) {
      const item = `${path}#${index}`;
      const isOver = listing.isOver || listing.states.get(item)?.status === 'succeeded';
      const inside: Listing = { ...listing, inItem: true, isOver };
      views.push(viewOf(item, turn, listing), ...stepViews(steps, `${item}/`, inside));
    }
    return views;
  });
}

function viewOf(path: string, uses: string, { states, runId }: Listing): StepView {
  const step = states.get(path);
  if (step === undefined) return { path, uses, status: 'pending', attempts: 0 };
  const { status, attempts, startedAt, endedAt, error, note, approval, part } = step;
  return {
    path,
    uses: step.uses,
    status,
    attempts,
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(endedAt === undefined ? {} : { endedAt }),
    ...(error === undefined ? {} : { error }),
    ...(note === undefined ? {} : { note }),
    ...(approval === undefined ? {} : { approval }),
    ...(part === undefined ? {} : { part }),
    ...(status === 'parked' ? { decide: deciding(step, path, runId) } : {}),
  };
}

/** An approval is looked at before it is given. */
function deciding({ approval }: StepState, path: string, runId: string): string {
  const words = `${runId} ${inShell(path)}`;
  return approval === undefined ? `decide ${words} --retry` : `approve ${words}`;
}

/** A path as one word of a shell. */
function inShell(path: string): string {
  return /^[\w/.-]+$/.test(path) ? path : `'${path}'`;
}
