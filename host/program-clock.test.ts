import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ProgramLimits } from '../core/host-protocol.js';
import { ranBefore, readClock } from './program-clock.js';

describe('the clock of a program', () => {
  const limits = (changes: Partial<ProgramLimits>): ProgramLimits => ({
    stepMs: null,
    graceMs: 1,
    minFreeBytes: 0,
    outputBytes: 1,
    ...changes,
  });
  const times = { startedAtMs: 100_000, ranBeforeMs: 30_000, extendedMs: 5_000 };

  it.each([
    ['no limit', {}, { endsAtMs: null, warnsAtMs: null }],
    ['run time of the step', { stepMs: 60_000 }, { endsAtMs: 135_000, cause: 'limit' }],
    ['time of the start', { startMs: 10_000 }, { endsAtMs: 115_000, cause: 'startLimit' }],
    ['a deadline, which no extension moves', { deadlineMs: 7 }, { endsAtMs: 7, cause: 'deadline' }],
    [
      'the nearest of all',
      { stepMs: 60_000, startMs: 90_000, deadlineMs: 134_999 },
      { endsAtMs: 134_999, cause: 'deadline' },
    ],
    [
      'a warning before it',
      { stepMs: 60_000, warning: { signal: 'SIGUSR1', beforeMs: 20_000 } },
      { endsAtMs: 135_000, warnsAtMs: 115_000 },
    ],
  ] as const)('keeps %s', (_what, changes, clock) => {
    expect(readClock(limits(changes), times)).toMatchObject(clock);
  });

  describe('over several starts', () => {
    let folder: string;
    beforeEach(() => {
      folder = mkdtempSync(path.join(tmpdir(), 'adit-clock-'));
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    function start(number: number, ending: object | null, aliveAtMs = 0): void {
      const root = path.join(folder, String(number));
      mkdirSync(root);
      const owner = path.join(root, 'owner.json');
      const record = { version: 2, leader: {}, marker: 'm', startedAtMs: 10_000, token: 1 };
      writeFileSync(owner, JSON.stringify(record));
      utimesSync(owner, aliveAtMs / 1_000, aliveAtMs / 1_000);
      if (ending === null) return;
      writeFileSync(path.join(root, 'ending.json'), JSON.stringify({ marker: 'm', ...ending }));
    }

    it('sums what the others ran; one that was lost, until it was last seen alive or was to be ended', async () => {
      start(1, { endedAtMs: 12_000 });
      start(2, { cause: 'limit' }, 15_000);
      start(3, null, 13_000);
      mkdirSync(path.join(folder, '4'));
      start(5, { cause: 'limit', decidedAtMs: 16_000 }, 15_000);
      expect(ranBefore(folder, 9)).toBe(2_000 + 5_000 + 3_000 + 6_000);
      expect(ranBefore(folder, 1)).toBe(5_000 + 3_000 + 6_000);
      expect(ranBefore(path.join(folder, 'none'), 1)).toBe(0);
    });
  });
});
