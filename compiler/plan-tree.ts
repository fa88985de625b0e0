/** The planned steps of a file as one tree: where each stands, which others run before it, and what an expression reads. */
import type { Expr, Template } from '../core/expression.js';
import type { ActivityStep, PipelineStep, PlanStep } from '../core/plan.js';
import type { Range } from './diagnostic.js';
import { knownFrom } from './conditions.js';
import type { Step, UsesStep } from './pipeline.js';
import type { StepSignature } from './step-signature.js';

/** One list of a block in which a step stands: its block, and which of its lists. */
interface Enclosing {
  readonly block: PlanStep;
  /** `then`, `catch/0`; in a `parallel` the place of the branch. */
  readonly slot: string | number;
}

export interface Place {
  readonly step: PlanStep;
  /** Outermost first. */
  readonly around: readonly Enclosing[];
  /** In the order of the file. */
  readonly index: number;
}

export interface UsesPlace extends Place {
  readonly step: ActivityStep;
  readonly signature: StepSignature;
}

/** A step that calls the pipeline of another file. */
export interface CallPlace extends Place {
  readonly step: PipelineStep;
}

export class PlanTree {
  readonly steps: readonly PlanStep[];
  readonly uses: readonly UsesPlace[];
  /** `uses`, and the calls of other files, in the order of the file. */
  readonly places: readonly (UsesPlace | CallPlace)[];
  /** The step type that gives a claim back; null when there is none. */
  readonly cancelType: string | null;
  readonly #byId = new Map<string, UsesPlace>();
  readonly #calls = new Map<string, CallPlace>();
  readonly #sources: ReadonlyMap<PlanStep, Step>;

  constructor(
    steps: readonly PlanStep[],
    sources: ReadonlyMap<PlanStep, Step>,
    signatures: ReadonlyMap<string, StepSignature>,
  ) {
    this.steps = steps;
    this.#sources = sources;
    const cancel = [...signatures.values()].find(({ submission }) => submission?.role === 'cancel');
    this.cancelType = cancel?.name ?? null;
    const uses: UsesPlace[] = [];
    const places: (UsesPlace | CallPlace)[] = [];
    let index = 0;
    const visit = (step: PlanStep, around: readonly Enclosing[]): void => {
      const place = { step, around, index: (index += 1) };
      const signature = step.kind === 'step' ? signatures.get(step.uses) : undefined;
      if (step.kind === 'step' && signature !== undefined) {
        const used = { ...place, step, signature };
        uses.push(used);
        places.push(used);
        if (step.id !== undefined) this.#byId.set(step.id, used);
      } else if (step.kind === 'pipeline') {
        const call = { ...place, step };
        places.push(call);
        if (step.id !== undefined) this.#calls.set(step.id, call);
      }
      for (const { slot, steps: inner } of listsOf(step))
        for (const one of inner) visit(one, [...around, { block: step, slot }]);
    };
    for (const step of steps) visit(step, []);
    this.uses = uses;
    this.places = places;
  }

  /** Where a step is named in a message. */
  rangeOf(step: PlanStep): Range {
    return this.#sources.get(step)?.range ?? { start: 0, end: 0 };
  }

  /** Place of one of its inputs; of its `with` where it is not given. */
  rangeOfInput(step: ActivityStep, name: string): Range {
    const source = this.#sources.get(step) as UsesStep | undefined;
    const value = source?.with?.find(({ key }) => key === name)?.value;
    return value?.range ?? source?.withRange ?? this.rangeOf(step);
  }

  /** The step and the path in its outputs that an expression reads; null when it does anything else. */
  outputOf(expr: Expr | null): { readonly from: UsesPlace; readonly path: string[] } | null {
    const path: string[] = [];
    let at = expr;
    for (; at?.op === 'member'; at = at.of) path.unshift(at.key);
    const [id, ...members] = path;
    const from = at?.op === 'name' && at.name === 'steps' ? this.#byId.get(id ?? '') : undefined;
    return from === undefined ? null : { from, path: members };
  }

  /** The call and the output of it that an expression reads, whole or in part; null when it does anything else. */
  callOf(expr: Expr | null): { readonly from: CallPlace; readonly output: string } | null {
    const [root, id, output] = pathIn(expr);
    const from = root === 'steps' ? this.#calls.get(id ?? '') : undefined;
    return from === undefined || output === undefined ? null : { from, output };
  }

  /** The same value by the step that first gave it: an output that is an input, unchanged, is followed to that input. */
  follow(expr: Expr | null): Expr | null {
    let at = expr;
    for (;;) {
      const output = this.outputOf(at);
      const passes = Object.entries(output?.from.signature.passes ?? {}).find(([path]) =>
        `${output?.path.join('.') ?? ''}.`.startsWith(`${path}.`),
      );
      if (output === null || passes === undefined) return at;
      const [path, input] = passes;
      const given = inputOf(output.from.step, input);
      if (given === null) return at;
      at = output.path.slice(path.split('.').length).reduce<Expr>(member, given);
    }
  }

  /** Conditions that hold wherever this step runs, as facts. */
  guardsOf({ step, around }: Place): ReadonlySet<string> {
    const guards = [...around.map(({ block }) => block), step].flatMap(({ if: test }) =>
      test === undefined ? [] : knownFrom(test, true),
    );
    const blocks = around.flatMap(({ block, slot }) =>
      block.kind === 'if' ? knownFrom(block.test, slot === 'then') : [],
    );
    return new Set([...guards, ...blocks]);
  }

  /** `a` may run at a time when `b` has not ended yet, in a run in which both do. */
  mayPrecede(a: Place, b: Place): boolean {
    const shared = a.around.findIndex(({ block }, at) => {
      const other = b.around[at];
      return other?.block !== block || other.slot !== a.around[at]?.slot;
    });
    const inA = a.around[shared];
    const inB = b.around[shared];
    if (shared === -1 || inA === undefined || inB?.block !== inA.block) return a.index < b.index;
    if (inA.block.kind === 'if') return false;
    if (inA.block.kind !== 'parallel') return a.index < b.index;
    return !needs(inA.block.branches, Number(inA.slot), Number(inB.slot));
  }

  /** A block that runs many times holds both. */
  isInLoopOf(a: Place, b: Place): boolean {
    return a.around.some(
      ({ block }) =>
        (block.kind === 'foreach' || block.kind === 'repeat') &&
        b.around.some((other) => other.block === block),
    );
  }
}

/** The lists of steps in a block, in the order of the file. */
function listsOf(
  step: PlanStep,
): readonly { readonly slot: string | number; readonly steps: readonly PlanStep[] }[] {
  switch (step.kind) {
    case 'foreach':
    case 'repeat':
      return [{ slot: 'steps', steps: step.steps }];
    case 'parallel':
      return step.branches.map((branch, slot) => ({ slot, steps: [branch.step] }));
    case 'if':
      return [
        { slot: 'then', steps: step.then },
        { slot: 'else', steps: step.else },
      ];
    case 'try':
      return [
        { slot: 'try', steps: step.steps },
        ...(step.catch ?? []).map(({ steps }, at) => ({ slot: `catch/${at}`, steps })),
        { slot: 'finally', steps: step.finally },
      ];
    default:
      return [];
  }
}

/** True when the branch `from` waits for the branch `to`, by others too. */
function needs(
  branches: readonly { readonly needs: readonly number[] }[],
  from: number,
  to: number,
): boolean {
  const seen = new Set([from]);
  for (const one of seen) for (const needed of branches[one]?.needs ?? []) seen.add(needed);
  return from !== to && seen.has(to);
}

/** `a.b.c` as its parts; nothing for anything else. */
export function pathIn(expr: Expr | null): string[] {
  if (expr?.op === 'name') return [expr.name];
  if (expr?.op !== 'member') return [];
  const of = pathIn(expr.of);
  return of.length === 0 ? [] : [...of, expr.key];
}

/** The expression that is given for an input; null for anything else. */
export function inputOf(step: ActivityStep, name: string): Expr | null {
  const template = templateOf(step, name);
  return template?.t === 'expr' ? template.expr : null;
}

export function templateOf(step: ActivityStep, name: string): Template | undefined {
  return step.with.find(([key]) => key === name)?.[1];
}

export function member(of: Expr, key: string): Expr {
  return { op: 'member', of, key };
}

/** How a message calls a step. */
export function labelOf(step: PlanStep): string {
  if (step.id !== undefined) return `\`${step.id}\``;
  return step.kind === 'step' ? `the step ${step.uses}` : `a \`${step.kind}\``;
}

/** A path as it is written; null for anything else. */
export function printPath(expr: Expr | null): string | null {
  if (expr?.op === 'name') return expr.name;
  if (expr?.op !== 'member') return null;
  const of = printPath(expr.of);
  return of === null ? null : `${of}.${expr.key}`;
}
