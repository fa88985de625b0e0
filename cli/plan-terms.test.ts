import { describe, expect, test } from 'vitest';
import { NOTICE_EVENTS } from '../core/notice.js';
import { deadlineTerms, notifyTerms } from './plan-terms.js';

const NOW = Date.parse('2026-11-21T10:00:00Z');

describe('the deadline of a run', () => {
  test('is that of its command, else that of its file, and ends it', () => {
    expect(deadlineTerms({}, {}, NOW)).toEqual({});
    expect(deadlineTerms({ deadlineMs: 1_000 }, {}, NOW)).toEqual({
      deadlineMs: NOW + 1_000,
      endsAtDeadline: true,
    });
    expect(deadlineTerms({ deadlineMs: 1_000 }, { deadlineMs: NOW + 9_000 }, NOW)).toEqual({
      deadlineMs: NOW + 9_000,
      endsAtDeadline: true,
    });
  });
});

describe('what hooks are told of a run', () => {
  const none = { notifyUrl: null, notifyCommand: null, notifyEvents: null };
  const webhook = { ...none, notifyUrl: 'https://hooks.example/token' };

  test('is nothing where no hook is set and the file asks for none', () => {
    expect(notifyTerms({}, none)).toEqual({});
    expect(notifyTerms({}, { ...none, notifyEvents: ['failed'] })).toEqual({});
    expect(notifyTerms({ notify: [] }, webhook)).toEqual({});
  });

  test('is what the file says, else what the settings say, else all; never an address', () => {
    expect(notifyTerms({}, webhook)).toEqual({
      notify: { events: NOTICE_EVENTS, hooks: ['webhook'] },
    });
    expect(
      notifyTerms({}, { ...webhook, notifyCommand: ['tell'], notifyEvents: ['failed'] }),
    ).toEqual({ notify: { events: ['failed'], hooks: ['webhook', 'command'] } });
    expect(notifyTerms({ notify: ['parked'] }, { ...webhook, notifyEvents: ['failed'] })).toEqual({
      notify: { events: ['parked'], hooks: ['webhook'] },
    });
    expect(notifyTerms({ notify: ['parked'] }, none)).toEqual({ notify: { events: ['parked'] } });
  });
});
