/**
 * Approvals that are waited for, by the path of their step, and the answers of people. What an answer counts for the
 * approval itself knows (core/open-approval.ts); an id counts once, also where the run goes on from a state.
 */
import { condition } from '@temporalio/workflow';
import type { OpenApproval, Refusal } from '../core/open-approval.js';
import type { StepState } from '../core/run-state.js';
import { clipSummary } from './clip-summary.js';
import type { Approval, ApprovalResult, ApprovalView } from './contract.js';
import { invalid, isObject, refusal, type Decisions } from './decisions.js';

/** By then the interpreter has come to it, or the run ends before it. */
const COMING_MS = 20_000;

export class Approvals {
  readonly #steps: () => ReadonlyMap<string, StepState>;
  readonly #decisions: Decisions;
  readonly #open = new Map<string, OpenApproval>();

  constructor(decisions: Decisions, steps: () => ReadonlyMap<string, StepState>) {
    this.#decisions = decisions;
    this.#steps = steps;
  }

  /** True while an approval is waited for. */
  get isWaiting(): boolean {
    return this.#open.size > 0;
  }

  /** The power `approve`. */
  async wait(approval: OpenApproval): Promise<void> {
    const { path, expiresMs } = approval;
    this.#open.set(path, approval);
    const isOver = (): boolean => approval.isOver;
    try {
      if (expiresMs === null) await condition(isOver);
      else {
        const summary = clipSummary(`${path} waits for approval`);
        // Also one whose time was over while no worker lived: a cancellation must be able to reach it.
        await condition(isOver, Math.max(1, expiresMs - Date.now()), { summary });
      }
    } finally {
      if (this.#open.get(path) === approval) this.#open.delete(path);
    }
  }

  /** What the approval of a step shows and asks; null when it is not waited for. */
  view(path: string): ApprovalView | null {
    const approval = this.#open.get(path);
    if (approval === undefined) return null;
    return { step: path, asked: approval.asked, state: approval.state };
  }

  /** Throws what is wrong with what a client sent as an answer; nothing of it enters the history then. */
  validate(answer: unknown): void {
    if (!isObject(answer))
      throw invalid('An answer has `id`, `step`, `action`, `digest` and `by`.');
    const { step } = answer;
    if (this.#decisions.isCounted(answer)) return;
    const approval = this.#open.get(String(step));
    if (approval === undefined && this.#isComing(String(step))) return;
    if (approval === undefined) throw this.#notWaiting(String(step));
    const problem = approval.problemOf(answer, Date.now());
    if (problem !== null) throw refused(problem);
    this.#decisions.assertRoom();
  }

  /** Counts an answer that was validated. */
  async take(answer: Approval): Promise<ApprovalResult> {
    const { id, step, action } = answer;
    if (!this.#open.has(step) && this.#isComing(step))
      await condition(() => this.#open.has(step), COMING_MS);
    const approval = this.#open.get(step);
    if (!this.#decisions.isCounted({ ...answer })) {
      const problem = approval?.problemOf({ ...answer }, Date.now());
      if (approval === undefined || problem === undefined) throw this.#notWaiting(step);
      // Another answer may have come between the check and this one.
      if (problem !== null) throw refused(problem);
      this.#decisions.count(id, { step, action });
      approval.take(answer, new Date(Date.now()).toISOString());
      const { approved, quorum } = approval.state;
      return { step, action, repeated: false, approved: approved.length, quorum };
    }
    const { approved = [], quorum = 0 } = this.#steps().get(step)?.approval ?? {};
    return { step, action, repeated: true, approved: approved.length, quorum };
  }

  /** A run that goes on from a state may be answered before its interpreter has come to where it waits. */
  #isComing(step: string): boolean {
    const { status, approval } = this.#steps().get(step) ?? {};
    return status === 'parked' && approval !== undefined;
  }

  #notWaiting(step: string): Error {
    const waiting = [...this.#open.keys()].sort();
    const hint =
      waiting.length === 0
        ? 'No step of this run waits for approval now.'
        : `These wait: ${waiting.slice(0, 20).join(', ')}.`;
    const state = this.#steps().get(step);
    if (state === undefined) return invalid(`The run has come by no step \`${step}\`.`, hint);
    return invalid(`${step} does not wait for approval: it is ${state.status}.`, hint);
  }
}

function refused({ code, message, hint }: Refusal): Error {
  return refusal(code, message, hint);
}
