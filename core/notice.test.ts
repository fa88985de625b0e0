import { expect, test } from 'vitest';
import { noticeOf } from './notice.js';

const origin = { run: 'run-1', round: 'run-0', pipeline: 'test' };
const TIME = '2026-01-01T00:00:00.000Z';

test('an event has one id, and each event its own', () => {
  const parked = (step: string, start: number, time = TIME): string =>
    noticeOf(origin, 'parked', time, { step, start }).id;
  expect(parked('each#0/a', 1)).toBe(
    `run-1/notify/parked/each#0/a/1-${Date.parse(TIME).toString(36)}`,
  );
  expect(parked('each#0/a', 1)).toBe(parked('each#0/a', 1));
  const ids = [
    parked('each#0/a', 1),
    parked('each#1/a', 1),
    parked('each#0/a', 2),
    parked('each#0/a', 1, '2026-01-01T00:00:00.001Z'),
    noticeOf(origin, 'approval', TIME, { step: 'each#0/a', start: 1 }).id,
    noticeOf(origin, 'failed', TIME, {}).id,
    noticeOf({ ...origin, run: 'run-2' }, 'failed', TIME, {}).id,
  ];
  expect(new Set(ids).size).toBe(ids.length);
});

test('an end says which step is to blame, but is not an event of that step', () => {
  const error = { code: 'PATCH_EMPTY', message: 'nothing', hint: 'change it', step: 'a' };
  expect(noticeOf(origin, 'failed', TIME, { error })).toEqual({
    id: `run-1/notify/failed/${Date.parse(TIME).toString(36)}`,
    event: 'failed',
    ...origin,
    ...error,
    time: TIME,
  });
});

test('ids and texts are bounded, however long paths and messages are', () => {
  const step = `${'x'.repeat(5_000)}y`;
  const error = { code: 'INTERNAL', message: 'm'.repeat(10_000), hint: 'h'.repeat(10_000) };
  const notice = noticeOf(origin, 'parked', TIME, { step, start: 1, error });
  expect(notice.id.length).toBeLessThan(1_000);
  expect(notice.id).toContain('y/1-');
  expect(notice.step).toBe(step);
  expect(notice.message).toHaveLength(2_000);
  expect(notice.hint).toHaveLength(2_000);
});
