/** What can be of a claim at one place of a file, and how that comes together where paths do. */
import type { PlanStep } from '../core/plan.js';
import { sum, type LongestTime } from './block-time.js';

/** A list, the latest first; paths share what they have in common. */
interface Spent {
  readonly step: PlanStep;
  readonly ms: number;
  readonly before: Spent | null;
}

/** The claim is active, and nothing was tried with it yet. */
export interface Open {
  readonly time: LongestTime;
  /** What took time since, for the message. */
  readonly spent: Spent | null;
  /** Why the steps that follow are not come to. */
  readonly why?: string;
}

/** What can be at one place: not claimed (or not reached), open, taken care of. */
export interface Flow {
  readonly none: boolean;
  readonly open: Open | null;
  readonly done: boolean;
}

export interface Exits {
  readonly normal: Flow;
  readonly failed: Flow;
  /** A failure with the code of a `repeat` that has come to its limit: a `catch` may be for just that. */
  readonly atLimit: Flow;
  /** A stop or a cancellation: no `catch` takes it. */
  readonly broken: Flow;
}

export const NOWHERE: Flow = { none: false, open: null, done: false };
export const NO_EXITS: Exits = {
  normal: NOWHERE,
  failed: NOWHERE,
  atLimit: NOWHERE,
  broken: NOWHERE,
};
export const START: Flow = { none: true, open: null, done: false };

/** Nothing that is followed comes here. */
export function isNowhere({ none, open, done }: Flow): boolean {
  return !none && open === null && !done;
}

/** One or the other. */
export function join(a: Flow, b: Flow): Flow {
  return { none: a.none || b.none, open: older(a.open, b.open), done: a.done || b.done };
}

/** Both have ended: what one of them certainly did is done. */
export function together(a: Flow, b: Flow): Flow {
  const certain = [a, b].find(({ none, open, done }) => done && !none && open === null);
  if (certain !== undefined) return certain;
  const open = older(a.open, b.open);
  return open === null ? join(a, b) : { none: a.none && b.none, open, done: a.done || b.done };
}

export function joinExits(a: Exits, b: Exits): Exits {
  return {
    normal: join(a.normal, b.normal),
    failed: join(a.failed, b.failed),
    atLimit: join(a.atLimit, b.atLimit),
    broken: join(a.broken, b.broken),
  };
}

function older(a: Open | null, b: Open | null): Open | null {
  if (a === null || b === null) return a ?? b;
  if (typeof a.time !== 'number') return a;
  return typeof b.time !== 'number' || b.time > a.time ? b : a;
}

export function later(flow: Flow, step: PlanStep, time: LongestTime): Flow {
  if (flow.open === null) return flow;
  const { time: before, spent, why } = flow.open;
  const ms = typeof time === 'number' ? time : 0;
  return {
    ...flow,
    open: {
      time: sum([before, time]),
      spent: ms === 0 ? spent : { step, ms, before: spent },
      ...(why === undefined ? {} : { why }),
    },
  };
}

export function because(flow: Flow, why: string | undefined): Flow {
  if (flow.open === null || why === undefined) return flow;
  return { ...flow, open: { ...flow.open, why } };
}

/** What comes next goes on from here: how it came here is told no more. */
export function without(flow: Flow): Flow {
  if (flow.open === null) return flow;
  const { time, spent } = flow.open;
  return { ...flow, open: { time, spent } };
}
