/**
 * A submission is what the gate has passed: the very values, by reference, and nothing works in their workspace in
 * between. The step types compare digests again while the run goes; this is told before hours of work.
 */
import type { Expr } from '../core/expression.js';
import type { ActivityStep } from '../core/plan.js';
import { workOf, workspaceOf, workspacesGiven } from './called-work.js';
import { MOST_CLAIMS } from './check-claims.js';
import type { Diagnostics } from './diagnostic.js';
import {
  inputOf,
  labelOf,
  member,
  printPath,
  type CallPlace,
  type Place,
  type PlanTree,
  type UsesPlace,
} from './plan-tree.js';
import type { StepSignature, SubmissionRole } from './step-signature.js';

type Gate = UsesPlace & { readonly role: SubmissionRole & { readonly role: 'gate' } };

export function checkVerdicts(
  tree: PlanTree,
  signatures: ReadonlyMap<string, StepSignature>,
  diagnostics: Diagnostics,
): void {
  const between = new BetweenCheck(tree, signatures, diagnostics);
  let submissions = 0;
  for (const place of tree.uses) {
    const role = place.signature.submission;
    if (role?.role === 'gate') checkGate({ ...place, role }, tree, diagnostics);
    if (role?.role !== 'submit') continue;
    const gate = gateOf(place, role.verdict, tree, diagnostics);
    if (gate === null) continue;
    checkSubmitted(place, gate, tree, diagnostics);
    submissions += 1;
    // A file with more is refused for that.
    if (submissions <= MOST_CLAIMS) between.check(place, gate);
  }
  between.checkBesideCalls();
}

/** What is judged must be made of the candidate that the measurement is of; what cannot be followed the gate itself compares. */
function checkGate(gate: Gate, tree: PlanTree, diagnostics: Diagnostics): void {
  const candidate = inputOf(gate.step, gate.role.candidate);
  if (candidate === null) return;
  for (const [input, part] of Object.entries(gate.role.judges)) {
    const made = tree.outputOf(tree.follow(inputOf(gate.step, input)));
    const source = made?.from.signature.madeOf?.[made.path.join('.')];
    if (made === null || source === undefined) continue;
    const given = tree.follow(inputOf(made.from.step, source));
    const meant = member(candidate, part);
    if (given === null || isSame(given, tree.follow(meant))) continue;
    diagnostics.add(
      'VERDICT_MISMATCH',
      tree.rangeOfInput(gate.step, input),
      `this ${input} is made of ${shown(given)}, and the candidate that is judged is ${shown(candidate)}`,
      `let ${labelOf(made.from.step)} have \`${source}: \${{ ${printPath(meant) ?? `….${part}`} }}\``,
    );
  }
}

function gateOf(
  submit: UsesPlace,
  input: string,
  tree: PlanTree,
  diagnostics: Diagnostics,
): Gate | null {
  const verdict = inputOf(submit.step, input);
  const output = tree.outputOf(tree.follow(verdict));
  const role = output?.from.signature.submission;
  if (output !== null && role?.role === 'gate' && output.path.join('.') === role.verdict)
    return { ...output.from, role };
  const gates = tree.uses.flatMap(({ step, signature: { submission } }) =>
    submission?.role === 'gate' && step.id !== undefined
      ? [`steps.${step.id}.${submission.verdict}`]
      : [],
  );
  diagnostics.add(
    'VERDICT_MISMATCH',
    tree.rangeOfInput(submit.step, input),
    'it cannot be told which gate has given this verdict, and about what',
    gates[0] === undefined
      ? 'let the gate be a step of this file, and take the verdict from its output'
      : `take it from the gate itself: \`\${{ ${gates[0]} }}\``,
  );
  return null;
}

function checkSubmitted(
  submit: UsesPlace,
  gate: Gate,
  tree: PlanTree,
  diagnostics: Diagnostics,
): void {
  for (const input of Object.keys(gate.role.judges)) {
    const judged = inputOf(gate.step, input);
    const given = inputOf(submit.step, input);
    if (judged === null || given === null || isSame(tree.follow(judged), tree.follow(given)))
      continue;
    diagnostics.add(
      'VERDICT_MISMATCH',
      tree.rangeOfInput(submit.step, input),
      `the verdict of ${labelOf(gate.step)} is about the ${input} ${shown(judged)}, and this submits ${shown(given)}`,
      `submit what was judged, or let ${labelOf(gate.step)} judge this one`,
    );
  }
}

/**
 * Nothing may work in a workspace that was there before the gate, from the gate to the submission; neither a step nor
 * what a called file does with a workspace that it is given.
 */
class BetweenCheck {
  readonly #tree: PlanTree;
  readonly #signatures: ReadonlyMap<string, StepSignature>;
  readonly #diagnostics: Diagnostics;
  /** Places that work in workspaces, with the places that opened these; null for one of which that cannot be told. */
  readonly #works = new Map<UsesPlace | CallPlace, ReadonlyArray<Place | null>>();
  readonly #told = new Set<Place>();

  constructor(
    tree: PlanTree,
    signatures: ReadonlyMap<string, StepSignature>,
    diagnostics: Diagnostics,
  ) {
    this.#tree = tree;
    this.#signatures = signatures;
    this.#diagnostics = diagnostics;
    const openers = new Map<ActivityStep, Place>();
    const openerOf = (workspace: Expr | null): Place | null => {
      const call = tree.callOf(workspace);
      if (call !== null) {
        const { opens } = workOf(call.from.step.called, signatures);
        return opens.has(call.output) ? call.from : null;
      }
      const from = tree.outputOf(workspace)?.from;
      return (from === undefined ? undefined : openers.get(from.step)) ?? null;
    };
    for (const place of tree.places) {
      if (!('signature' in place)) {
        const given = workspacesGiven(place.step, signatures);
        if (given.length > 0) this.#works.set(place, given.map(openerOf));
        continue;
      }
      const workspace = workspaceOf(place);
      if (place.signature.opensWorkspace === true) openers.set(place.step, place);
      else if (workspace !== null) {
        const opener = openerOf(workspace);
        if (opener !== null) openers.set(place.step, opener);
        this.#works.set(place, [opener]);
      }
    }
  }

  check(submit: UsesPlace, gate: Gate): void {
    for (const [place, openers] of this.#works) {
      if (this.#told.has(place) || !this.#isBetween(gate, place, submit)) continue;
      if (openers.every((one) => one !== null && this.#isBetween(gate, one, submit))) continue;
      this.#told.add(place);
      this.#diagnostics.add(
        'VERDICT_OUTDATED',
        this.#tree.rangeOf(place.step),
        `${workerOf(place)} works in a workspace after the gate ${labelOf(gate.step)} and before the submission ${labelOf(submit.step)}: what was judged may no longer be what is there`,
        'move it before the gate or behind the submission, or give it a workspace of its own, forked after the gate',
      );
    }
  }

  /** Beside a file that judges and submits, any moment can be one between the two. */
  checkBesideCalls(): void {
    const tree = this.#tree;
    const calls = tree.places.filter(
      (place): place is CallPlace =>
        !('signature' in place) && workOf(place.step.called, this.#signatures).submits,
    );
    for (const call of calls.slice(0, MOST_CLAIMS)) {
      for (const place of this.#works.keys()) {
        const isBeside =
          place !== call && tree.mayPrecede(call, place) && tree.mayPrecede(place, call);
        if (!isBeside || this.#told.has(place)) continue;
        this.#told.add(place);
        this.#diagnostics.add(
          'VERDICT_OUTDATED',
          tree.rangeOf(place.step),
          `${workerOf(place)} works in a workspace beside ${workerOf(call)}, which judges and submits: what was judged may no longer be what is there`,
          'let one of them wait for the other, with `needs`',
        );
      }
    }
  }

  #isBetween(gate: UsesPlace, place: Place, submit: UsesPlace): boolean {
    const tree = this.#tree;
    // Of a loop around the submission alone the next turn comes before its next submission.
    const comesAgain = tree.isInLoopOf(place, submit) && !tree.isInLoopOf(gate, submit);
    return tree.mayPrecede(gate, place) && (comesAgain || tree.mayPrecede(place, submit));
  }
}

/** How a message calls who works: of a call with the file whose steps do. */
function workerOf({ step }: UsesPlace | CallPlace): string {
  return step.kind === 'step' ? labelOf(step) : `${labelOf(step)} (\`${step.called.file}\`)`;
}

function shown(expr: Expr): string {
  const path = printPath(expr);
  return path === null ? 'another value' : `\`${path}\``;
}

/** Values never change: equal expressions at places that both can read are one value. */
function isSame(a: Expr | null, b: Expr | null): boolean {
  return a !== null && b !== null && JSON.stringify(a) === JSON.stringify(b);
}
