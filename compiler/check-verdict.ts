/**
 * A submission is what the gate has passed: the very values, by reference, and nothing works in their workspace in
 * between. The step types compare digests again while the run goes; this is told before hours of work.
 */
import type { Expr } from '../core/expression.js';
import type { Diagnostics } from './diagnostic.js';
import { inputOf, labelOf, member, printPath, type PlanTree, type UsesPlace } from './plan-tree.js';
import type { SubmissionRole } from './step-signature.js';

type Gate = UsesPlace & { readonly role: SubmissionRole & { readonly role: 'gate' } };

export function checkVerdicts(tree: PlanTree, diagnostics: Diagnostics): void {
  for (const place of tree.uses) {
    const role = place.signature.submission;
    if (role?.role === 'gate') checkGate({ ...place, role }, tree, diagnostics);
    if (role?.role !== 'submit') continue;
    const gate = gateOf(place, role.verdict, tree, diagnostics);
    if (gate === null) continue;
    checkSubmitted(place, gate, tree, diagnostics);
    checkBetween(place, gate, tree, diagnostics);
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
function checkBetween(
  submit: UsesPlace,
  gate: Gate,
  tree: PlanTree,
  diagnostics: Diagnostics,
): void {
  const isBetween = (place: UsesPlace): boolean => {
    if (place.step === gate.step || place.step === submit.step) return false;
    // Of a loop around the submission alone the next turn comes before its next submission.
    const comesAgain = tree.isInLoopOf(place, submit) && !tree.isInLoopOf(gate, submit);
    return tree.mayPrecede(gate, place) && (comesAgain || tree.mayPrecede(place, submit));
  };
  for (const place of tree.uses) {
    const workspace = workspaceOf(place);
    if (workspace === null || place.signature.opensWorkspace === true || !isBetween(place))
      continue;
    const opener = openerOf(workspace, tree);
    if (opener !== null && isBetween(opener)) continue;
    diagnostics.add(
      'VERDICT_OUTDATED',
      tree.rangeOf(place.step),
      `${labelOf(place.step)} works in a workspace after the gate ${labelOf(gate.step)} and before the submission ${labelOf(submit.step)}: what was judged may no longer be what is there`,
      'move it before the gate or behind the submission, or give it a workspace of its own, forked after the gate',
    );
  }
}

function workspaceOf({ step, signature }: UsesPlace): Expr | null {
  for (const [name] of signature.host ?? []) {
    const given = name === undefined ? null : inputOf(step, name);
    if (given !== null) return given;
  }
  return null;
}

/** The step that opened a workspace; null when that cannot be told. */
function openerOf(workspace: Expr, tree: PlanTree): UsesPlace | null {
  for (let at: Expr | null = workspace; ;) {
    const output = tree.outputOf(tree.follow(at));
    if (output === null) return null;
    const before = workspaceOf(output.from);
    if (output.from.signature.opensWorkspace === true) return output.from;
    if (before === null) return null;
    at = before;
  }
}

function shown(expr: Expr): string {
  const path = printPath(expr);
  return path === null ? 'another value' : `\`${path}\``;
}

/** Values never change: equal expressions at places that both can read are one value. */
function isSame(a: Expr | null, b: Expr | null): boolean {
  return a !== null && b !== null && JSON.stringify(a) === JSON.stringify(b);
}
