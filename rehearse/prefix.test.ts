import { describe, expect, test } from 'vitest';
import type { TraceEvent } from './boundary.js';
import { hasSameBoundaries, isBehind, prefixLength } from './prefix.js';
import { readSchedule, type Schedule } from './schedule.js';

const asked = (route: string): TraceEvent => ({ kind: 'request', service: 'coordinator', route });
const ended = (path: string): TraceEvent => ({ kind: 'record', record: 'ended', path });

// discover -> train -> claim, of which the last one is an effect
const TRACE = [
  asked('GET /tasks'),
  ended('discover'),
  ended('train'),
  asked('GET /tasks'),
  asked('POST /claim'),
  ended('claim'),
];
const of = (text: string): Schedule => {
  const read = readSchedule(text);
  if ('problem' in read) throw new Error(read.problem);
  return read.schedule;
};

describe('the part before the first effect', () => {
  test('reaches to the last end of its steps', () => {
    expect(prefixLength(TRACE, ['train', 'discover'])).toBe(3);
    expect(prefixLength(TRACE, ['discover'])).toBe(2);
  });

  test('is nothing without steps, or where one of them has not ended', () => {
    expect(prefixLength(TRACE, [])).toBe(0);
    expect(prefixLength(TRACE, ['discover', 'elsewhere'])).toBe(0);
  });

  test('a schedule is behind it when all of its faults are', () => {
    const prefix = TRACE.slice(0, 3);
    const first = 'drop_request@request:coordinator:GET:/tasks:1';
    const second = 'drop_request@request:coordinator:GET:/tasks:2';
    expect(isBehind(of(first), prefix)).toBe(false);
    expect(isBehind(of(second), prefix)).toBe(true);
    expect(isBehind(of(`${first}+${second}`), prefix)).toBe(false);
    expect(isBehind([], prefix)).toBe(false);
  });
});

test('traces have the same boundaries whatever the order of what goes side by side', () => {
  expect(
    hasSameBoundaries(TRACE, [ended('train'), ...TRACE.filter((one) => one !== TRACE[2])]),
  ).toBe(true);
  expect(hasSameBoundaries(TRACE, TRACE.slice(0, -1))).toBe(false);
});
