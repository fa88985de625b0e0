/**
 * What becomes of a claim: on every path it is submitted on or given back, and what lies between it and its submission
 * fits its lifetime.
 *
 * Each claim is followed through the blocks behind it: whether it is open where a list of steps ends well, fails, or is
 * broken off by a stop or a cancellation. A submission counts when it is tried: what becomes of it is the business of
 * the step. Right behind the claim, before anything else, nothing is counted as going wrong.
 */
import { formatDuration, parseDuration } from '../core/duration.js';
import type { Expr } from '../core/expression.js';
import type { PlanStep } from '../core/plan.js';
import { durationOf, longestTime } from './block-time.js';
import {
  because,
  join,
  joinExits,
  later,
  NOWHERE,
  START,
  together,
  without,
  type Exits,
  type Flow,
  type Open,
} from './claim-flow.js';
import { knownFrom } from './conditions.js';
import type { Diagnostics } from './diagnostic.js';
import { labelOf, templateOf, inputOf, type PlanTree, type UsesPlace } from './plan-tree.js';
import type { SubmissionRole } from './step-signature.js';

/** Most claims of a file, and most submissions: each is followed through all of it. */
export const MOST_CLAIMS = 50;

export function checkClaims(tree: PlanTree, diagnostics: Diagnostics): void {
  const claims = new Map<string, UsesPlace>();
  for (const place of tree.uses) {
    const { submission } = place.signature;
    if (submission?.role !== 'claim') continue;
    const { id } = place.step;
    if (id === undefined) leftOpen(place, 'it has no `id`, so', tree, diagnostics);
    else claims.set(`${id}.${submission.claim}`, place);
  }
  const submits = tree.uses.filter(({ signature }) => signature.submission?.role === 'submit');
  const beyond = [...claims.values()][MOST_CLAIMS] ?? submits[MOST_CLAIMS];
  if (beyond !== undefined) {
    diagnostics.add(
      'CLAIM_UNCLEAR',
      tree.rangeOf(beyond.step),
      `a file has at most ${MOST_CLAIMS} claims and as many submissions`,
      'divide it',
    );
    return;
  }
  const ends = new Map<UsesPlace, UsesPlace[]>();
  for (const place of tree.uses) {
    const { submission } = place.signature;
    if (submission?.role !== 'submit' && submission?.role !== 'cancel') continue;
    const given = inputOf(place.step, submission.claim);
    const meant = [...new Set(outputsIn(given))].flatMap((output) => claims.get(output) ?? []);
    for (const claim of meant) {
      const known = ends.get(claim);
      if (known === undefined) ends.set(claim, [place]);
      else known.push(place);
    }
    if (meant.length === 0 && submission.role === 'submit') {
      diagnostics.add(
        'CLAIM_UNCLEAR',
        tree.rangeOfInput(place.step, submission.claim),
        'it cannot be told which step has made this claim, so neither how old it can be',
        'let the claim be a step of this file, and take it from its output',
      );
    }
  }
  for (const claim of claims.values())
    new ClaimWalk(claim, ends.get(claim) ?? [], tree, diagnostics).check();
}

function leftOpen(
  { step }: UsesPlace,
  why: string,
  tree: PlanTree,
  diagnostics: Diagnostics,
): void {
  const cancel = tree.cancelType;
  diagnostics.add(
    'CLAIM_LEFT_OPEN',
    tree.rangeOf(step),
    `this claim can be left open: ${why} nothing submits on it or gives it back`,
    cancel === null
      ? 'put it into a `try` whose `finally` gives it back'
      : `put it into a \`try\` whose \`finally\` has \`${cancel}\` with this claim`,
  );
}

class ClaimWalk {
  readonly #claim: UsesPlace;
  readonly #role: SubmissionRole & { readonly role: 'claim' };
  readonly #submits: ReadonlySet<PlanStep>;
  readonly #submitIds: ReadonlySet<string | undefined>;
  /** Blocks in which something happens to the claim. */
  readonly #touched: ReadonlySet<PlanStep>;
  readonly #around: ReadonlySet<PlanStep>;
  readonly #guards: ReadonlySet<string>;
  readonly #tree: PlanTree;
  readonly #diagnostics: Diagnostics;
  #isTold = false;

  constructor(
    claim: UsesPlace,
    ends: readonly UsesPlace[],
    tree: PlanTree,
    diagnostics: Diagnostics,
  ) {
    this.#claim = claim;
    this.#role = claim.signature.submission as SubmissionRole & { readonly role: 'claim' };
    this.#submits = new Set(
      ends.flatMap(({ step, signature }) =>
        signature.submission?.role === 'submit' ? [step] : [],
      ),
    );
    this.#submitIds = new Set([...this.#submits].map(({ id }) => id));
    const blocks = (place: UsesPlace): PlanStep[] => place.around.map(({ block }) => block);
    this.#around = new Set(blocks(claim));
    this.#touched = new Set([
      claim.step,
      ...[claim, ...ends].flatMap(blocks),
      ...ends.map(({ step }) => step),
    ]);
    this.#guards = tree.guardsOf(claim);
    this.#tree = tree;
    this.#diagnostics = diagnostics;
  }

  check(): void {
    const { normal, failed, broken } = this.#list(this.#tree.steps, START);
    this.#expectClosed(failed, '');
    this.#expectClosed(broken, '');
    this.#expectClosed(normal, 'at the end of the run');
  }

  #expectClosed({ open }: Flow, why: string): void {
    if (open === null || this.#isTold) return;
    this.#isTold = true;
    leftOpen(this.#claim, open.why ?? why, this.#tree, this.#diagnostics);
  }

  #list(steps: readonly PlanStep[], start: Flow): Exits {
    let normal = start;
    let failed = NOWHERE;
    let broken = NOWHERE;
    for (const step of steps) {
      // Before the claim, and behind what ends it, there is nothing to follow.
      if (normal.open === null && !this.#touched.has(step)) continue;
      const exits = this.#step(step, normal);
      failed = join(failed, exits.failed);
      broken = join(broken, exits.broken);
      normal = exits.normal;
    }
    return { normal, failed, broken };
  }

  #step(step: PlanStep, flow: Flow): Exits {
    if (step.if === undefined) return this.#body(step, flow);
    const { yes, no } = this.#split(step.if, flow);
    const exits = this.#body(step, yes);
    return { ...exits, normal: join(exits.normal, no) };
  }

  #body(step: PlanStep, flow: Flow): Exits {
    if (!this.#touched.has(step)) return this.#pass(step, flow);
    switch (step.kind) {
      case 'step':
        return this.#own(step, flow);
      case 'if': {
        const { yes, no } = this.#split(step.test, flow);
        return joinExits(this.#list(step.then, yes), this.#list(step.else, no));
      }
      case 'try':
        return this.#try(step, flow);
      case 'parallel':
        return this.#parallel(step, flow);
      case 'foreach':
      case 'repeat':
        return this.#turns(step, flow);
      default:
        return this.#pass(step, flow);
    }
  }

  /** A step or a block that does nothing with the claim: it takes its time, fails, or ends the run. */
  #pass(step: PlanStep, flow: Flow): Exits {
    if (step.kind === 'stop') {
      const at =
        step.id === undefined
          ? 'when the run stops behind it'
          : `when ${labelOf(step)} stops the run`;
      return { normal: NOWHERE, failed: NOWHERE, broken: because(flow, `${at},`) };
    }
    const time = longestTime(step);
    const after = later(flow, step, time);
    const name = labelOf(step);
    const canFail = step.kind !== 'wait' || step.until !== undefined;
    return {
      normal: after,
      failed: canFail ? because(after, `when ${name} fails,`) : NOWHERE,
      broken: because(after, `when the run is stopped or cancelled in ${name},`),
    };
  }

  /** The claim itself, a submission on it, or what gives it back. */
  #own(step: PlanStep, flow: Flow): Exits {
    if (step === this.#claim.step) {
      const open: Open = { time: 0, spent: null };
      const rest = { ...flow, open: null };
      return { normal: { none: false, open, done: false }, failed: rest, broken: rest };
    }
    if (flow.open !== null && this.#submits.has(step)) this.#checkAge(step, flow.open);
    const tried = { none: flow.none, open: null, done: flow.done || flow.open !== null };
    return { normal: tried, failed: tried, broken: tried };
  }

  #try(step: PlanStep & { kind: 'try' }, flow: Flow): Exits {
    const body = this.#list(step.steps, flow);
    let { normal, broken } = body;
    const clauses = step.catch ?? [];
    const takesAll = clauses.some(({ errors }) => errors === undefined);
    let failed = takesAll ? NOWHERE : body.failed;
    for (const { steps } of clauses) {
      const exits = this.#list(steps, without(body.failed));
      normal = join(normal, exits.normal);
      failed = join(failed, exits.failed);
      broken = join(broken, exits.broken);
    }
    // `finally` runs after each of them, and what it leaves ends as it would have ended.
    const afterNormal = this.#list(step.finally, normal);
    const afterFailed = this.#list(step.finally, without(failed));
    const afterBroken = this.#list(step.finally, without(broken));
    return {
      normal: afterNormal.normal,
      failed: [
        because(afterFailed.normal, failed.open?.why),
        afterNormal.failed,
        afterFailed.failed,
      ].reduce(join),
      broken: [
        because(afterBroken.normal, broken.open?.why),
        afterNormal.broken,
        afterFailed.broken,
        afterBroken.failed,
        afterBroken.broken,
      ].reduce(join),
    };
  }

  #parallel(step: PlanStep & { kind: 'parallel' }, flow: Flow): Exits {
    const exits = new Map<number, Exits>();
    // Only branches that have to do with the claim are gone through, each behind those that it needs.
    const isTouched = (at: number): boolean =>
      this.#touched.has(step.branches[at]?.step ?? step) && step.branches[at] !== undefined;
    let left = [...step.branches.keys()].filter(isTouched);
    while (left.length > 0) {
      const waiting = left.filter((at) => {
        const needed = (step.branches[at]?.needs ?? []).filter(isTouched);
        const before = needed.flatMap((one) => exits.get(one)?.normal ?? []);
        const branch = step.branches[at];
        if (before.length < needed.length || branch === undefined) return true;
        exits.set(
          at,
          this.#step(branch.step, before.length === 0 ? flow : before.reduce(together)),
        );
        return false;
      });
      if (waiting.length === left.length) break;
      left = waiting;
    }
    const all = [...exits.values()];
    const beside = step.branches.filter((branch) => !this.#touched.has(branch.step));
    const normal = all.map((one) => one.normal).reduce(together, flow.open === null ? START : flow);
    const slow = flow.open === null ? [] : beside;
    return {
      normal: slow.length === 0 ? normal : later(normal, step, longestTime(step)),
      failed: all
        .map((one) => one.failed)
        .reduce(join, flow.open === null ? NOWHERE : because(flow, `when ${labelOf(step)} fails,`)),
      broken: all.map((one) => one.broken).reduce(join, NOWHERE),
    };
  }

  #turns(step: PlanStep & { kind: 'foreach' | 'repeat' }, flow: Flow): Exits {
    const exits = this.#list(step.steps, flow);
    if (this.#around.has(step)) {
      // Behind the block nothing can name a claim that was made inside of it.
      this.#expectClosed(exits.failed, '');
      this.#expectClosed(exits.broken, '');
      this.#expectClosed(exits.normal, `at the end of a turn of ${labelOf(step)}`);
      const closed = { none: true, open: null, done: true };
      return { normal: closed, failed: closed, broken: closed };
    }
    const isSure = step.kind === 'repeat';
    return { ...exits, normal: isSure ? exits.normal : join(exits.normal, flow) };
  }

  /** The ways that a condition can go, for each of what can be. */
  #split(test: Expr, flow: Flow): { yes: Flow; no: Flow } {
    const ways = (state: keyof Flow): { yes: boolean; no: boolean } => {
      const truth = this.#truth(test, state);
      return { yes: truth !== false, no: truth !== true };
    };
    const [none, open, done] = [ways('none'), ways('open'), ways('done')];
    return {
      yes: {
        none: flow.none && none.yes,
        open: open.yes ? flow.open : null,
        done: flow.done && done.yes,
      },
      no: {
        none: flow.none && none.no,
        open: open.no ? flow.open : null,
        done: flow.done && done.no,
      },
    };
  }

  /** What a condition certainly is in a state; null when that is not known. */
  #truth(test: Expr, state: keyof Flow): boolean | null {
    if (test.op === 'call') {
      const [left, right] = test.args.map((arg) => this.#truth(arg, state));
      if (test.fn === '!_' && typeof left === 'boolean') return !left;
      if (test.fn === '_&&_') {
        if (left === false || right === false) return false;
        if (left === true && right === true) return true;
      }
      if (test.fn === '_||_') {
        if (left === true || right === true) return true;
        if (left === false && right === false) return false;
      }
    }
    if (test.op === 'has') {
      const path = [...pathIn(test.of), test.key];
      const { id } = this.#claim.step;
      const isClaim = path[0] === 'steps' && path[1] === id && path.length <= 3;
      if (isClaim && (path.length === 2 || path[2] === this.#role.claim)) return state !== 'none';
      // What is open was not submitted yet.
      const isSubmit = path[0] === 'steps' && this.#submitIds.has(path[1]);
      if (isSubmit && state === 'open') return false;
    }
    if (state === 'none') return null;
    const [isTrue] = knownFrom(test, true);
    const [isFalse] = knownFrom(test, false);
    if (isTrue !== undefined && this.#guards.has(isTrue)) return true;
    return isFalse !== undefined && this.#guards.has(isFalse) ? false : null;
  }

  #checkAge(submit: PlanStep, { time, spent }: Open): void {
    const { lifetime, lifetimeInput } = this.#role;
    const claim = this.#claim.step;
    const told = templateOf(claim, lifetimeInput);
    const lifetimeMs = told === undefined ? parseDuration(lifetime) : durationOf(told);
    if (lifetimeMs === null) {
      this.#diagnostics.add(
        'CLAIM_TOO_OLD',
        this.#tree.rangeOfInput(claim, lifetimeInput),
        'the checker must know how long the claim lives, and this is told only when the run starts',
        'write the duration out, such as `45m`',
      );
      return;
    }
    if (typeof time !== 'number') {
      this.#diagnostics.add(
        'CLAIM_TOO_OLD',
        this.#tree.rangeOf(submit),
        `the claim ${labelOf(claim)} may have expired here: it cannot be told how long ${labelOf(time.unclear)} takes, which comes between`,
        'move it before the claim, or write out how long it can take',
      );
    } else if (time > lifetimeMs) {
      const parts: { readonly step: PlanStep; readonly ms: number }[] = [];
      for (let part = spent; part !== null; part = part.before) parts.push(part);
      const longest = parts.toSorted((a, b) => b.ms - a.ms).slice(0, 3);
      this.#diagnostics.add(
        'CLAIM_TOO_OLD',
        this.#tree.rangeOf(submit),
        `the claim ${labelOf(claim)} may have expired here: it lives ${span(lifetimeMs)}, and up to ${span(time)} can lie between (${longest.map(({ step, ms }) => `${labelOf(step)} ${span(ms)}`).join(', ')})`,
        `claim later, give what lies between less time, or tell the claim its \`${lifetimeInput}\` where the coordinator grants more`,
      );
    }
  }
}

/** `45m` for what `formatDuration` writes as `45m 00s`. */
function span(ms: number): string {
  return formatDuration(ms)
    .replace(/ 00?[smh]$/, '')
    .replace(/\.0s$/, 's');
}

/** `claim.claim` for each `steps.claim.claim` in an expression. */
function outputsIn(expr: Expr | null): string[] {
  if (expr === null) return [];
  const [root, id, output] = pathIn(expr);
  if (root === 'steps' && id !== undefined && output !== undefined) return [`${id}.${output}`];
  return expr.op === 'call' ? expr.args.flatMap(outputsIn) : [];
}

function pathIn(expr: Expr): string[] {
  if (expr.op === 'name') return [expr.name];
  if (expr.op !== 'member') return [];
  const of = pathIn(expr.of);
  return of.length === 0 ? [] : [...of, expr.key];
}
