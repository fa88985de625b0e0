/** What devnet, worker and host of a rehearsal have written down, read as it grows. */
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import {
  RECORDS,
  SERVICES,
  type RecordKind,
  type Service,
  type TraceEvent,
} from '../../rehearse/boundary.js';
import { isJsonObject } from '../../core/json.js';

export type JournalLine = { readonly atMs: number } & (
  | { readonly event: 'request'; readonly service: Service; readonly route: string }
  | {
      readonly event: 'fault';
      readonly service: Service;
      readonly route: string;
      readonly kind: string;
    }
  | {
      readonly event: 'held';
      readonly service: Service;
      readonly route: string;
      readonly kind: string;
    }
  | {
      readonly event: 'record';
      readonly record: RecordKind;
      readonly path: string;
      readonly number: number;
      readonly pid: number;
      /** The process has stopped at it. */
      readonly stopped: boolean;
    }
);

/** Returns a function that gives the lines since its last call; none while there is no file. */
export function followJournal(file: string): () => JournalLine[] {
  let offset = 0;
  return () => {
    if (!existsSync(file)) return [];
    const descriptor = openSync(file, 'r');
    try {
      const text = Buffer.alloc(Math.max(0, fstatSync(descriptor).size - offset));
      const count = readSync(descriptor, text, 0, text.length, offset);
      // The last line may be half written.
      const end = text.subarray(0, count).lastIndexOf('\n') + 1;
      offset += end;
      return text
        .subarray(0, end)
        .toString()
        .split('\n')
        .flatMap((line) => (line === '' ? [] : readLine(line)));
    } finally {
      closeSync(descriptor);
    }
  };
}

/** The events of a run in the order of their times; what the devnet's own validator asks is not among them. */
export function traceOf(lines: readonly JournalLine[]): TraceEvent[] {
  const inOrder = [...lines].sort((a, b) => a.atMs - b.atMs);
  return inOrder.flatMap((line) => eventOf(line) ?? []);
}

/** The event of a run that a line tells of; null for one about a fault. */
export function eventOf(line: JournalLine): TraceEvent | null {
  if (line.event === 'request')
    return { kind: 'request', service: line.service, route: line.route };
  if (line.event === 'record') return { kind: 'record', record: line.record, path: line.path };
  return null;
}

function readLine(text: string): JournalLine[] {
  const line: unknown = JSON.parse(text);
  if (!isJsonObject(line)) return [];
  const { atMs, event, service, route, kind, by, record, path, number, pid, stopped } = line;
  const time = Number(atMs);
  if (event === 'record') {
    const what = RECORDS.find((one) => one === record);
    if (what === undefined || typeof path !== 'string') return [];
    return [
      {
        atMs: time,
        event,
        record: what,
        path,
        number: Number(number),
        pid: Number(pid),
        stopped: stopped === true,
      },
    ];
  }
  const of = SERVICES.find((one) => one === service);
  if (of === undefined || typeof route !== 'string') return [];
  if (event === 'request') {
    return by === 'client' ? [{ atMs: time, event, service: of, route }] : [];
  }
  if (event === 'fault' || event === 'held')
    return [{ atMs: time, event, service: of, route, kind: String(kind) }];
  return [];
}
