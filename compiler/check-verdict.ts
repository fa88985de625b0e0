/**
 * A submission is what the gate has passed: the very values, by reference, and nothing works in their workspace in
 * between. The step types compare digests again while the run goes; this is told before hours of work.
 */
import type { Expr } from '../core/expression.js';
import type { ActivityStep } from '../core/plan.js';
import { MOST_CLAIMS } from './check-claims.js';
import type { Diagnostics } from './diagnostic.js';
import { inputOf, labelOf, member, printPath, type PlanTree, type UsesPlace } from './plan-tree.js';
import type { SubmissionRole } from './step-signature.js';

type Gate = UsesPlace & { readonly role: SubmissionRole & { readonly role: 'gate' } };

export function checkVerdicts(tree: PlanTree, diagnostics: Diagnostics): void {
  const between = new BetweenCheck(tree, diagnostics);
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

/** Nothing may work in a workspace that was there before the gate, from the gate to the submission. */
class BetweenCheck {
  readonly #tree: PlanTree;
  readonly #diagnostics: Diagnostics;
  /** Steps that work in a workspace, with the step that opened it; null when that cannot be told. */
  readonly #works = new Map<UsesPlace, UsesPlace | null>();
  readonly #told = new Set<UsesPlace>();

  constructor(tree: PlanTree, diagnostics: Diagnostics) {
    this.#tree = tree;
    this.#diagnostics = diagnostics;
    const openers = new Map<ActivityStep, UsesPlace>();
    for (const place of tree.uses) {
      const workspace = workspaceOf(place);
      const from = tree.outputOf(workspace)?.from;
      const opener = from === undefined ? undefined : openers.get(from.step);
      if (place.signature.opensWorkspace === true) openers.set(place.step, place);
      else if (workspace !== null) {
        if (opener !== undefined) openers.set(place.step, opener);
        this.#works.set(place, opener ?? null);
      }
    }
  }

  check(submit: UsesPlace, gate: Gate): void {
    for (const [place, opener] of this.#works) {
      if (this.#told.has(place) || !this.#isBetween(gate, place, submit)) continue;
      if (opener !== null && this.#isBetween(gate, opener, submit)) continue;
      this.#told.add(place);
      this.#diagnostics.add(
        'VERDICT_OUTDATED',
        this.#tree.rangeOf(place.step),
        `${labelOf(place.step)} works in a workspace after the gate ${labelOf(gate.step)} and before the submission ${labelOf(submit.step)}: what was judged may no longer be what is there`,
        'move it before the gate or behind the submission, or give it a workspace of its own, forked after the gate',
      );
    }
  }

  #isBetween(gate: UsesPlace, place: UsesPlace, submit: UsesPlace): boolean {
    const tree = this.#tree;
    // Of a loop around the submission alone the next turn comes before its next submission.
    const comesAgain = tree.isInLoopOf(place, submit) && !tree.isInLoopOf(gate, submit);
    return tree.mayPrecede(gate, place) && (comesAgain || tree.mayPrecede(place, submit));
  }
}

function workspaceOf({ step, signature }: UsesPlace): Expr | null {
  for (const [name] of signature.host ?? []) {
    const given = name === undefined ? null : inputOf(step, name);
    if (given !== null) return given;
  }
  return null;
}

function shown(expr: Expr): string {
  const path = printPath(expr);
  return path === null ? 'another value' : `\`${path}\``;
}

/** Values never change: equal expressions at places that both can read are one value. */
function isSame(a: Expr | null, b: Expr | null): boolean {
  return a !== null && b !== null && JSON.stringify(a) === JSON.stringify(b);
}
