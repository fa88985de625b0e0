import { describe, expect, test } from 'vitest';
import type { AnswerField } from '../core/answer-fields.js';
import type { JsonObject } from '../core/json.js';
import { readAnswerFields, readGivenAnswer } from './read-approval.js';

const FIELDS: readonly AnswerField[] = [
  {
    name: 'lane',
    type: { kind: 'one_of', values: ['fast', 'careful'] },
    summary: '',
    required: true,
  },
  { name: 'count', type: { kind: 'int' }, summary: '', required: false, default: 3 },
  { name: 'text', type: { kind: 'string' }, summary: '', required: false },
  { name: 'hours', type: { kind: 'list', of: { kind: 'int' } }, summary: '', required: false },
];

const readFields = (given: readonly string[], fields = FIELDS): JsonObject =>
  readAnswerFields(
    readGivenAnswer({ approve: true, field: given }, true)?.fields ?? new Map(),
    fields,
  );

const mistakesOf = (given: readonly string[], fields = FIELDS): string => {
  try {
    return JSON.stringify(readFields(given, fields));
  } catch (error) {
    const { code, message, hint } = error as { code: string; message: string; hint: string };
    return `${code}: ${message} ${hint}`;
  }
};

describe('fields of an answer', () => {
  test('are read by their types, a text as it is', () => {
    expect(readFields(['lane=fast', 'text=a=b: [1]', 'hours=[1, 2]', 'count=7'])).toEqual({
      lane: 'fast',
      text: 'a=b: [1]',
      hours: [1, 2],
      count: 7,
    });
    expect(readFields(['lane=fast', 'text='])).toEqual({ lane: 'fast', text: '' });
  });

  test('that do not fit are all told, and what is asked for', () => {
    const told = mistakesOf(['lane=slow', 'cuont=1', 'count=x', 'hours=[a]']);
    expect(told).toMatch(/^DECISION_INVALID: The answer does not fit what is asked:/);
    for (const part of [
      '`lane` takes one of "fast", "careful", not `slow`',
      'nobody asked for a field `cuont`: did you mean `count`?',
      '`count` is `x`, which is not an int',
      '`hours` takes int',
      'It asks for: lane (one of "fast", "careful"), count (int, optional)',
    ])
      expect(told).toContain(part);
    expect(mistakesOf([])).toContain('The field `lane` is missing.');
    expect(mistakesOf(['a=b'], [])).toContain('It asks for no fields.');
  });
});

describe('options of `adit approve`', () => {
  test.each([
    [{ approve: true, reject: true, field: [] }, true, 'two answers'],
    [{ field: ['a=b'] }, true, 'none is given'],
    [{ field: [], digest: 'x' }, true, 'none is given'],
    [{ approve: true, field: [], digest: '4b1f…' }, true, '--digest is a SHA-256'],
    [{ approve: true, field: [] }, false, 'one step of one run'],
    [{ reject: true, field: ['a=b'] }, true, 'A rejection has no fields'],
    [{ approve: true, field: [], file: 'patch' }, true, '--file prints a file'],
    [{ approve: true, field: ['text'] }, true, '--field takes NAME=VALUE; "text" has no value.'],
    [{ approve: true, field: ['=a'] }, true, '--field takes NAME=VALUE; "=a" has no name.'],
    [
      { approve: true, field: ['lane=fast', 'count=1', 'lane=slow'] },
      true,
      '`lane` is given twice: `--field lane=fast` and `--field lane=slow` (number 1 and number 3',
    ],
  ])('%j are refused', (options, hasStep, message) => {
    expect(() => readGivenAnswer(options, hasStep)).toThrow(message);
  });

  test('say which answer, or none', () => {
    expect(readGivenAnswer({ approve: true, field: ['a=b', 'c='] }, true)).toEqual({
      action: 'approve',
      fields: new Map([
        ['a', 'b'],
        ['c', ''],
      ]),
    });
    expect(readGivenAnswer({ reject: true, field: [] }, true)?.action).toBe('reject');
    expect(readGivenAnswer({ field: [] }, true)).toBeNull();
  });
});
