import { expect, it } from 'vitest';
import type { EffectRecord } from '../core/effect-record.js';
import { effectLines, effectToJson } from './effect-lines.js';

const effect: EffectRecord = {
  version: 1,
  roundId: 'r1',
  stepPath: 'round/submitted',
  what: 'submission',
  hotkey: '5F',
  intent: { claim: 'c1' },
  sentSha256: 'ab'.repeat(32),
  recordedAt: '2026-11-21T10:00:00.000Z',
  tries: [
    { runId: 'r1', start: 1, attempt: 1, sentAt: '2026-11-21T10:00:01.000Z' },
    {
      runId: 'r2',
      start: 1,
      attempt: 2,
      sentAt: '2026-11-21T10:07:00.000Z',
      endedAt: '2026-11-21T10:07:01.000Z',
      outcome: 'done',
      evidence: { id: 's1' },
    },
  ],
  probes: [
    { at: '2026-11-21T10:06:40.000Z', result: 'absent', reason: 'no list has it\u001b[31m' },
  ],
  alarms: ['a second claim was cancelled'],
  settled: { at: '2026-11-21T10:07:01.000Z', by: 'reply', evidence: { id: 's1' } },
};

it('tells an effect in the order of time, with what settled it and its alarms', () => {
  expect(effectLines(effect)).toEqual([
    'submission at round/submitted, sent abababababab…',
    '  2026-11-21 10:00:01  try of r1, start 1: no outcome: the worker died, or the reply never came',
    '  2026-11-21 10:06:40  look: absent (no list has it [31m)',
    '  2026-11-21 10:07:00  try of r2, start 1, attempt 2: done  {"id":"s1"}',
    '  settled 2026-11-21 10:07:01 by the reply  {"id":"s1"}',
    '  ALARM: a second claim was cancelled',
  ]);
});

it('says of one that is open that nobody knows yet', () => {
  const { settled: _settled, ...open } = effect;
  expect(effectLines({ ...open, alarms: [] }).at(-1)).toBe(
    '  open: it is not known yet whether it happened',
  );
  expect(effectToJson(open)).toMatchObject({ settled: null });
});

it('says of one that only was meant that nothing was sent', () => {
  const { settled: _settled, ...open } = effect;
  const meant = { ...open, tries: [], probes: [], alarms: [] };
  expect(effectLines(meant)).toEqual([
    'submission at round/submitted, to send abababababab…',
    '  open: nothing was sent so far',
  ]);
  expect(effectLines({ ...meant, unseenUntil: '2026-11-21T10:05:31.000Z' })).toEqual([
    'submission at round/submitted, sent abababababab…',
    '  until 2026-11-21 10:05:31 a request may have been sent without a record of it',
    '  open: it is not known yet whether it happened',
  ]);
});

it('gives the whole audit as JSON, with null where something is not there', () => {
  expect(effectToJson(effect)).toMatchObject({
    key: { roundId: 'r1', step: 'round/submitted' },
    what: 'submission',
    tries: [{ runId: 'r1', endedAt: null, outcome: null, evidence: null }, { outcome: 'done' }],
    probes: [{ result: 'absent', evidence: null }],
    settled: { by: 'reply' },
    alarms: ['a second claim was cancelled'],
  });
});
