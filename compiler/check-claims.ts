/**
 * What becomes of a claim: on every path it is submitted on or given back, and what lies between it and its submission
 * fits its lifetime.
 *
 * Each claim is followed through the blocks behind it: whether it is open where a list of steps ends well, fails, or is
 * broken off by a stop or a cancellation. A submission counts when it is tried: what becomes of it is the business of
 * the step. Right behind the claim, before anything else, nothing is counted as going wrong.
 */
import type { Expr } from '../core/expression.js';
import type { CatchClause, PlanStep } from '../core/plan.js';
import { longestTime, timeBefore } from './block-time.js';
import {
  because,
  join,
  joinExits,
  isNowhere,
  later,
  NO_EXITS,
  NOWHERE,
  START,
  together,
  without,
  type Exits,
  type Flow,
  type Open,
} from './claim-flow.js';
import { knownFrom, opposite } from './conditions.js';
import { BranchOrder } from './branch-order.js';
import { checkAge } from './claim-age.js';
import type { Diagnostics } from './diagnostic.js';
import { labelOf, inputOf, member, pathIn, type PlanTree, type UsesPlace } from './plan-tree.js';
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

/** A clause that takes the failure of a `repeat` at its limit. */
function takesLimit({ errors }: CatchClause): boolean {
  return errors === undefined || errors.includes('REPEAT_LIMIT_REACHED');
}

class ClaimWalk {
  readonly #claim: UsesPlace;
  readonly #role: SubmissionRole & { readonly role: 'claim' };
  readonly #submits: ReadonlySet<PlanStep>;
  /** Ids of the submissions that are certainly on this claim where it is open. */
  readonly #submitIds: ReadonlySet<string | undefined>;
  /** Blocks in which something happens to the claim. */
  readonly #touched: ReadonlySet<PlanStep>;
  readonly #around: ReadonlySet<PlanStep>;
  readonly #guards: ReadonlySet<string>;
  /** Its output, as `claim.claim`. */
  readonly #name: string;
  /** The claim that each submission is on, and what is given back. */
  readonly #given: ReadonlyMap<PlanStep, Expr | null>;
  readonly #tree: PlanTree;
  readonly #diagnostics: Diagnostics;
  #isTold = false;
  /** How old it gets is not told: what is gone through now is gone through again. */
  #isTrial = false;

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
    const blocks = (place: UsesPlace): PlanStep[] => place.around.map(({ block }) => block);
    this.#around = new Set(blocks(claim));
    this.#touched = new Set([
      claim.step,
      ...[claim, ...ends].flatMap(blocks),
      ...ends.map(({ step }) => step),
    ]);
    this.#guards = tree.guardsOf(claim);
    this.#name = `${claim.step.id ?? ''}.${this.#role.claim}`;
    this.#given = new Map(
      ends.map(({ step, signature: { submission } }) => [
        step,
        submission?.role === 'submit' || submission?.role === 'cancel'
          ? inputOf(step, submission.claim)
          : null,
      ]),
    );
    this.#tree = tree;
    this.#diagnostics = diagnostics;
    // One may name those before it.
    const certain = new Set<string | undefined>();
    this.#submitIds = certain;
    for (const submit of this.#submits)
      if (this.#isGiven(this.#given.get(submit) ?? null)) certain.add(submit.id);
  }

  check(): void {
    this.#expectAllClosed(this.#list(this.#tree.steps, START), 'at the end of the run');
  }

  #expectAllClosed({ normal, failed, atLimit, broken }: Exits, atEnd: string): void {
    for (const flow of [failed, atLimit, broken]) this.#expectClosed(flow, '');
    this.#expectClosed(normal, atEnd);
  }

  #expectClosed({ open }: Flow, why: string): void {
    if (open === null || this.#isTold) return;
    this.#isTold = true;
    leftOpen(this.#claim, open.why ?? why, this.#tree, this.#diagnostics);
  }

  #list(steps: readonly PlanStep[], start: Flow): Exits {
    let all: Exits = { ...NO_EXITS, normal: start };
    for (const step of steps) {
      // Before the claim, and behind what ends it, there is nothing to follow.
      if (all.normal.open === null && !this.#touched.has(step)) continue;
      all = joinExits({ ...all, normal: NOWHERE }, this.#step(step, all.normal));
    }
    return all;
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
      return { ...NO_EXITS, broken: because(flow, `${at},`) };
    }
    const time = longestTime(step);
    const after = later(flow, step, time);
    const name = labelOf(step);
    const canFail = step.kind !== 'wait' || step.until !== undefined;
    return {
      normal: after,
      failed: canFail ? because(after, `when ${name} fails,`) : NOWHERE,
      atLimit: NOWHERE,
      broken: because(after, `when the run is stopped or cancelled in ${name},`),
    };
  }

  /** The claim itself, a submission on it, or what gives it back. */
  #own(step: PlanStep, flow: Flow): Exits {
    if (step === this.#claim.step) {
      const open: Open = { time: 0, spent: null };
      const rest = { ...flow, open: null };
      const normal = { none: false, open, done: false };
      return { normal, failed: rest, atLimit: NOWHERE, broken: rest };
    }
    if (flow.open !== null && this.#submits.has(step) && !this.#isTrial)
      checkAge(step, flow.open, this.#claim, this.#tree, this.#diagnostics);
    const tried = { none: flow.none, open: null, done: flow.done || flow.open !== null };
    const exits = { normal: tried, failed: tried, atLimit: NOWHERE, broken: tried };
    const given = this.#given.get(step) ?? null;
    if (flow.open === null || this.#isGiven(given)) return exits;
    const left = because(
      later(flow, step, longestTime(step)),
      `where ${labelOf(step)} is given another claim or none,`,
    );
    return joinExits(exits, { normal: left, failed: left, atLimit: NOWHERE, broken: left });
  }

  #try(step: PlanStep & { kind: 'try' }, flow: Flow): Exits {
    const body = this.#list(step.steps, flow);
    const clauses = step.catch ?? [];
    const takesAll = clauses.some(({ errors }) => errors === undefined);
    let all: Exits = {
      ...body,
      failed: takesAll ? NOWHERE : body.failed,
      atLimit: clauses.some(takesLimit) ? NOWHERE : body.atLimit,
    };
    for (const clause of clauses) {
      const taken = takesLimit(clause) ? join(body.failed, body.atLimit) : body.failed;
      all = joinExits(all, this.#list(clause.steps, without(taken)));
    }
    return this.#finally(step, all);
  }

  /** `finally` runs after each of them, and what it leaves ends as it would have ended. */
  #finally(step: PlanStep & { kind: 'try' }, { normal, failed, atLimit, broken }: Exits): Exits {
    const after = (flow: Flow): Exits => this.#list(step.finally, without(flow));
    const afterNormal = this.#list(step.finally, normal);
    const afterFailed = after(failed);
    // A failure of any other step is not followed where no claim is open, and is there all the same.
    const afterLimit = isNowhere(atLimit) ? NO_EXITS : after(atLimit);
    const afterBroken = after(broken);
    // The first failure is the one that is told; behind a success it is that of `finally`.
    const failures = [afterFailed, afterLimit].flatMap((one) => [one.failed, one.atLimit]);
    return {
      normal: afterNormal.normal,
      failed: [
        because(afterFailed.normal, failed.open?.why),
        afterNormal.failed,
        ...failures,
      ].reduce(join),
      atLimit: join(because(afterLimit.normal, atLimit.open?.why), afterNormal.atLimit),
      broken: [
        because(afterBroken.normal, broken.open?.why),
        afterNormal.broken,
        afterFailed.broken,
        afterLimit.broken,
        afterBroken.failed,
        afterBroken.atLimit,
        afterBroken.broken,
      ].reduce(join),
    };
  }

  #parallel(step: PlanStep & { kind: 'parallel' }, flow: Flow): Exits {
    const order = new BranchOrder(step);
    if (order.isInTurn && step.fail === 'fast') return this.#list(order.inTurn(), flow);
    const exits = new Map<number, Exits>();
    // Only branches that have to do with the claim are gone through, each behind those that it needs.
    const isTouched = (at: number): boolean =>
      this.#touched.has(step.branches[at]?.step ?? step) && step.branches[at] !== undefined;
    const neededBy = (at: number): readonly number[] =>
      (step.branches[at]?.needs ?? []).filter(isTouched);
    let left = [...step.branches.keys()].filter(isTouched);
    while (left.length > 0) {
      const waiting = left.filter((at) => {
        const before = neededBy(at).flatMap((one) => exits.get(one)?.normal ?? []);
        const branch = step.branches[at];
        if (before.length < neededBy(at).length || branch === undefined) return true;
        const start = before.length === 0 ? flow : before.reduce(together);
        const isPrompt = order.isPrompt(at, neededBy(at));
        exits.set(
          at,
          this.#step(branch.step, isPrompt ? start : later(start, step, timeBefore(step, at))),
        );
        return false;
      });
      if (waiting.length === left.length) break;
      left = waiting;
    }
    const all = [...exits.values()];
    const beside = step.branches.filter((branch) => !this.#touched.has(branch.step));
    const normal = all.map((one) => one.normal).reduce(together, flow.open === null ? START : flow);
    const isOpen = [flow, ...all.map((one) => one.normal)].some(({ open }) => open !== null);
    // Whatever ends the block does so within its longest time, counted from its beginning or from a claim inside.
    const atEnd = (one: Flow): Flow => {
      if (one.open === null) return one;
      const open = flow.open ?? { time: 0, spent: null };
      return because(later({ ...one, open }, step, longestTime(step)), one.open.why);
    };
    // What one branch leaves open another may close; until it does, any that runs beside can end the block.
    const atRisk = [
      ...(this.#isClosedAtOnce(null, exits, order, neededBy) ? [] : [flow]),
      ...[...exits].flatMap(([at, one]) => [
        ...(this.#isClosedAtOnce(at, exits, order, neededBy) ? [] : [one.normal]),
        ...(order.isAlone ? [] : [one.broken]),
      ]),
    ].map((one) => because(atEnd(one), one.open?.why ?? `when ${labelOf(step)} fails,`));
    // Behind a failure the others may go on.
    const failed = all
      .flatMap((one) => [one.failed, one.atLimit])
      .map((one) => (step.fail === 'wait' ? atEnd(one) : one));
    return {
      normal: beside.length === 0 || !isOpen ? normal : later(normal, step, longestTime(step)),
      failed: [...failed, ...atRisk].reduce(join, NOWHERE),
      atLimit: NOWHERE,
      broken: [...all.map((one) => one.broken), ...atRisk].reduce(join, NOWHERE),
    };
  }

  /** Behind the branch, or at the beginning of the block, nothing can end the block while the claim is open. */
  #isClosedAtOnce(
    at: number | null,
    exits: ReadonlyMap<number, Exits>,
    order: BranchOrder,
    neededBy: (at: number) => readonly number[],
  ): boolean {
    if (at !== null && order.endsLast(at)) return true;
    return [...exits].some(([next, { normal, failed, atLimit, broken }]) => {
      const needed = neededBy(next);
      const follows = at === null ? needed.length === 0 : needed.length === 1 && needed[0] === at;
      const isClosed = [normal, failed, atLimit, broken].every(({ open }) => open === null);
      return follows && isClosed && order.isPrompt(next, needed) && !order.mayStop;
    });
  }

  #turns(step: PlanStep & { kind: 'foreach' | 'repeat' }, flow: Flow): Exits {
    const all = this.#allTurns(step, flow);
    if (this.#around.has(step)) {
      // Behind the block nothing can name a claim that was made inside of it.
      this.#expectAllClosed(all, `at the end of a turn of ${labelOf(step)}`);
      const closed = { none: true, open: null, done: true };
      return { normal: closed, failed: closed, atLimit: closed, broken: closed };
    }
    const exits = { ...all, failed: join(all.failed, all.atLimit), atLimit: NOWHERE };
    if (step.kind === 'repeat') return this.#betweenTurns(step, exits);
    const isSure = step.items.op === 'list' && step.items.items.length > 0;
    return { ...exits, normal: isSure ? exits.normal : join(exits.normal, flow) };
  }

  /** Behind a turn a `repeat` waits for its next, ends well, or fails at its limit. */
  #betweenTurns(step: PlanStep & { kind: 'repeat' }, exits: Exits): Exits {
    const { until, everyMs, limit } = step;
    const ended =
      until === undefined
        ? { yes: exits.normal, no: exits.normal }
        : this.#split(until, exits.normal);
    const name = labelOf(step);
    const isPaused = everyMs !== undefined && limit > 1;
    const broken = because(ended.no, `when the run is stopped or cancelled in ${name},`);
    return {
      normal: ended.yes,
      failed: exits.failed,
      atLimit: until === undefined ? NOWHERE : because(ended.no, `when ${name} fails,`),
      broken: isPaused ? join(exits.broken, broken) : exits.broken,
    };
  }

  /** What one turn leaves open the next goes on with: for it all that the turns take has passed. */
  #allTurns(step: PlanStep & { kind: 'foreach' | 'repeat' }, flow: Flow): Exits {
    if (flow.open === null || this.#isTrial) return this.#list(step.steps, flow);
    this.#isTrial = true;
    const { normal, failed, atLimit } = this.#list(step.steps, flow);
    this.#isTrial = false;
    const goesOn =
      step.kind === 'foreach' && step.fail === 'wait'
        ? [normal, failed, atLimit].reduce(join)
        : normal;
    if (goesOn.open === null) return this.#list(step.steps, flow);
    return this.#list(step.steps, later(flow, step, longestTime(step)));
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

  /** Whether a value is certainly this claim where that is open. */
  #isGiven(value: Expr | null): boolean {
    if (value?.op !== 'call' || value.fn !== '_?_:_') return outputsIn(value).includes(this.#name);
    const [test, then = null, otherwise = null] = value.args;
    const truth = test === undefined ? null : this.#truth(test, 'open');
    return (truth === false || this.#isGiven(then)) && (truth === true || this.#isGiven(otherwise));
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
      // What runs only where this claim is not made.
      const other = this.#tree.outputOf(member(test.of, test.key))?.from;
      const guards = other === undefined ? [] : [...this.#tree.guardsOf(other)];
      if (state !== 'none' && guards.some((guard) => this.#guards.has(opposite(guard) ?? '')))
        return false;
    }
    if (state === 'none') return null;
    const [isTrue] = knownFrom(test, true);
    const [isFalse] = knownFrom(test, false);
    if (isTrue !== undefined && this.#guards.has(isTrue)) return true;
    return isFalse !== undefined && this.#guards.has(isFalse) ? false : null;
  }
}

/** `claim.claim` for each `steps.claim.claim` in an expression. */
function outputsIn(expr: Expr | null): string[] {
  if (expr === null) return [];
  const [root, id, output] = pathIn(expr);
  if (root === 'steps' && id !== undefined && output !== undefined) return [`${id}.${output}`];
  return expr.op === 'call' ? expr.args.flatMap(outputsIn) : [];
}
