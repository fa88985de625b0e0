import { describe, expect, it } from 'vitest';
import { deadlineOf, deadlineToJson, timeLeftWords } from './deadline-words.js';

const AT = '2026-11-22T06:00:00.000Z';
const NOW = Date.parse('2026-11-22T02:40:00Z');

describe('the deadline of a run', () => {
  it('stands in its memo, unless it has none', () => {
    expect(deadlineOf({ pipeline: 'x', deadline: AT })).toBe(AT);
    for (const memo of [undefined, null, 'x', {}, { deadline: 3 }, { deadline: 'soon' }])
      expect(deadlineOf(memo)).toBeNull();
  });

  it('is told with the time that is left', () => {
    expect(timeLeftWords(AT, NOW)).toBe('3h 20m left');
    expect(timeLeftWords(AT, Date.parse(AT))).toBe('it is over');
  });

  it('is told to programs with the milliseconds that are left, none of a run that has ended', () => {
    expect(deadlineToJson(AT, true, NOW)).toEqual({ at: AT, leftMs: 12_000_000 });
    expect(deadlineToJson(AT, true, NOW + 20_000_000)).toEqual({ at: AT, leftMs: 0 });
    expect(deadlineToJson(AT, false, NOW)).toEqual({ at: AT, leftMs: null });
  });
});
