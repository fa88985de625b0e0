/** What the pipeline of another file does with workspaces, as its caller must know it. */
import type { Expr } from '../core/expression.js';
import type { ActivityStep, CalledPipeline, PipelineStep, PlanStep } from '../core/plan.js';
import { inputOf, PlanTree, type UsesPlace } from './plan-tree.js';
import type { StepSignature } from './step-signature.js';

/** Where a workspace comes from: the file has opened it, or an input of the file holds it; null when it is not known. */
type Origin = { readonly opened: true } | { readonly input: string } | null;

export interface CalledWork {
  /** Inputs that hold a workspace in which it works; null stands for one of which it is not known. */
  readonly works: ReadonlySet<string | null>;
  /** Outputs that are a workspace which it has opened, or hold one. */
  readonly opens: ReadonlySet<string>;
  /** It submits, or what it calls does. */
  readonly submits: boolean;
}

/** By the list of steps: a file that is called many times is looked at once. */
const known = new WeakMap<readonly PlanStep[], CalledWork>();

export function workOf(
  called: CalledPipeline,
  signatures: ReadonlyMap<string, StepSignature>,
): CalledWork {
  const before = known.get(called.steps);
  if (before !== undefined) return before;
  const work = computeWork(called, signatures);
  known.set(called.steps, work);
  return work;
}

function computeWork(
  { steps, outputs }: CalledPipeline,
  signatures: ReadonlyMap<string, StepSignature>,
): CalledWork {
  const tree = new PlanTree(steps, new Map(), signatures);
  const origins = new Map<ActivityStep, readonly Origin[]>();
  const works = new Set<string | null>();
  let submits = false;
  const originsOf = (expr: Expr): readonly Origin[] => {
    if (expr.op === 'lit' && expr.value === null) return [];
    const choice = choiceOf(expr);
    if (choice !== null) return choice.flatMap(originsOf);
    const call = tree.callOf(expr);
    if (call !== null)
      return workOf(call.from.step.called, signatures).opens.has(call.output)
        ? [{ opened: true }]
        : [null];
    const from = tree.outputOf(expr)?.from.step;
    if (from !== undefined) return origins.get(from) ?? [null];
    const input = inputRead(expr);
    return [input === null ? null : { input }];
  };
  const note = (found: readonly Origin[]): void => {
    for (const origin of found) {
      if (origin === null) works.add(null);
      else if ('input' in origin) works.add(origin.input);
    }
  };
  for (const place of tree.places) {
    if (place.step.kind === 'pipeline') {
      submits ||= workOf(place.step.called, signatures).submits;
      for (const given of workspacesGiven(place.step, signatures))
        note(given === null ? [null] : originsOf(given));
      continue;
    }
    const { step, signature } = place as UsesPlace;
    submits ||= signature.submission?.role === 'submit';
    if (signature.opensWorkspace === true) {
      origins.set(step, [{ opened: true }]);
      continue;
    }
    const workspace = workspaceOf(place as UsesPlace);
    if (workspace === null) continue;
    const found = originsOf(workspace);
    origins.set(step, found);
    note(found);
  }
  const opens = outputs.flatMap(([name, template]) => {
    const found = template.t === 'expr' ? originsOf(template.expr) : [];
    return found.length > 0 && found.every((one) => one !== null && 'opened' in one) ? [name] : [];
  });
  return { works, opens: new Set(opens), submits };
}

/** What a call gives for the workspaces in which the called file works; null for one of which it is not known. */
export function workspacesGiven(
  { called, with: given }: PipelineStep,
  signatures: ReadonlyMap<string, StepSignature>,
): Array<Expr | null> {
  return [...workOf(called, signatures).works].flatMap((input) => {
    const template = input === null ? undefined : given.find(([name]) => name === input)?.[1];
    if (input === null) return [null];
    // Without a value it works in none.
    if (template === undefined || (template.t === 'value' && template.value === null)) return [];
    return [template.t === 'expr' ? template.expr : null];
  });
}

/** The workspace in which a step works; null when it works in none. */
export function workspaceOf({ step, signature }: UsesPlace): Expr | null {
  for (const [name] of signature.host ?? []) {
    const given = name === undefined ? null : inputOf(step, name);
    if (given !== null) return given;
  }
  return null;
}

/** Both values of a `? :`; null for anything else. */
function choiceOf(expr: Expr): readonly Expr[] | null {
  return expr.op === 'call' && expr.fn === '_?_:_' ? expr.args.slice(1) : null;
}

/** The input that is read, whole or in part; null for anything else. */
function inputRead(expr: Expr): string | null {
  if (expr.op !== 'member') return null;
  if (expr.of.op === 'name' && expr.of.name === 'inputs') return expr.key;
  return inputRead(expr.of);
}
