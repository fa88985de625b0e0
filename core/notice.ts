/** What people and programs outside are told about a run: one notice for each event, with an id of its own. */
import type { ErrorReport } from './error.js';

/** `parked` and `approval`: a step waits for a person. The others: how a run ended. */
export const NOTICE_EVENTS = [
  'parked',
  'approval',
  'failed',
  'stopped',
  'succeeded',
  'cancelled',
] as const;

export type NoticeEvent = (typeof NOTICE_EVENTS)[number];

/** Where notices go: an address that takes a POST, a command that takes them on its stdin. */
export const HOOKS = ['webhook', 'command'] as const;

export type Hook = (typeof HOOKS)[number];

/** What a hook is handed, as JSON; its shape is public (docs/notifications.md). Holds no secret. */
export interface Notice {
  /** The same for every delivery of this event, and for no other event. */
  readonly id: string;
  readonly event: NoticeEvent;
  readonly run: string;
  readonly round: string;
  readonly pipeline: string;
  /** Path of the step that waits, or that is to blame. */
  readonly step?: string;
  readonly code?: string;
  readonly message?: string;
  readonly hint?: string;
  /** When it happened, ISO 8601, UTC. */
  readonly time: string;
}

/** Longest message and hint that are told; a hook need not take more. */
const MAX_TEXT = 2_000;

/** A server takes ids of 1,000 bytes, and this id is also that of the workflow that delivers it. */
const MAX_ID = 950;

export interface NoticeOrigin {
  readonly run: string;
  readonly round: string;
  readonly pipeline: string;
}

/**
 * The notice of what happened at `time` (ISO 8601). Its id is made of nothing but the arguments: what happened once
 * has one id, however often a worker comes by it. `start` is that of the step.
 */
export function noticeOf(
  { run, round, pipeline }: NoticeOrigin,
  event: NoticeEvent,
  time: string,
  { error, step, start }: { readonly error?: ErrorReport; readonly step?: string; start?: number },
): Notice {
  const blamed = step ?? error?.step;
  const text = (name: 'message' | 'hint'): object =>
    error?.[name] === undefined ? {} : { [name]: clip(error[name]) };
  const end = `${start === undefined ? '' : `${start}-`}${Date.parse(time).toString(36)}`;
  const head = `${run}/notify/${event}/`;
  const place = step === undefined ? '' : `${middleOut(step, MAX_ID - head.length - end.length)}/`;
  return {
    id: `${head}${place}${end}`,
    event,
    run,
    round,
    pipeline,
    ...(blamed === undefined ? {} : { step: blamed }),
    ...(error === undefined ? {} : { code: error.code }),
    ...text('message'),
    ...text('hint'),
    time,
  };
}

function clip(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT - 1)}…`;
}

function middleOut(text: string, length: number): string {
  const half = Math.max(1, Math.floor(length / 2) - 1);
  return text.length < length ? text : `${text.slice(0, half)}~${text.slice(-half)}`;
}
