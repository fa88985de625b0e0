import { describe, expect, it } from 'vitest';
import type { Json } from './json.js';
import { parsePythonJson } from './python-json.js';
import { readConsoleMetric, readRejection, readResultMetric } from './result-metric.js';

const read = (result: Json) => readResultMetric(result, 'heldout_ppl');

describe('readResultMetric', () => {
  it('takes the named metric first, then the metrics object, then the top level', () => {
    const all = {
      metric_name: 'heldout_ppl',
      metric_value: 1,
      metrics: { heldout_ppl: 2 },
      heldout_ppl: 3,
    };
    expect(read(all)).toEqual({ kind: 'value', value: 1 });
    expect(read({ ...all, metric_name: 'other' })).toEqual({ kind: 'value', value: 2 });
    expect(read({ ...all, metric_name: 'other', metrics: {} })).toEqual({
      kind: 'value',
      value: 3,
    });
    expect(read({ metric_name: 'heldout_ppl' })).toEqual({ kind: 'missing' });
    expect(read([])).toEqual({ kind: 'missing' });
  });

  it.each([
    ['NaN', 'NaN'],
    ['-Infinity', '-Infinity'],
    ['1e999', 'Infinity'],
    ['null', 'null'],
    ['true', 'true'],
    ['"3.5"', 'a text'],
    ['[]', 'a list'],
    ['{}', 'an object'],
  ])('refuses %s in the metric place', (text, found) => {
    expect(read(parsePythonJson(`{"metrics": {"heldout_ppl": ${text}}}`))).toEqual({
      kind: 'unusable',
      found,
    });
  });
});

describe('parsePythonJson', () => {
  it('leaves NaN in texts alone and refuses what Python refuses', () => {
    expect(parsePythonJson('{"a": "NaN \\" NaN", "b": -1}')).toEqual({ a: 'NaN " NaN', b: -1 });
    expect(() => parsePythonJson('{"a": nan}')).toThrow(SyntaxError);
    expect(() => parsePythonJson('{"a": "NaN')).toThrow(SyntaxError);
  });
});

describe('readConsoleMetric', () => {
  const console = (output: string) => readConsoleMetric(output, 'heldout_ppl');

  it('takes the last match, case ignored', () => {
    expect(console('heldout_ppl=3\nHELDOUT_PPL: 2.5e1\n')).toEqual({ kind: 'value', value: 25 });
    expect(console('x-heldout_ppl = 1,234.5')).toEqual({ kind: 'value', value: 1 });
  });

  it.each(["{'heldout_ppl': 3}", 'heldout_ppl=nan', 'heldout_ppl=.5', 'private_heldout_ppl=3'])(
    'finds none in %s',
    (output) => {
      expect(console(output)).toEqual({ kind: 'missing' });
    },
  );

  it('takes a metric name literally', () => {
    expect(readConsoleMetric('score(1)=2 scoreX1)=3', 'score(1)')).toEqual({
      kind: 'value',
      value: 2,
    });
    expect(readConsoleMetric('val-bpb/x=2', 'val-bpb/x')).toEqual({ kind: 'value', value: 2 });
  });
});

describe('readRejection', () => {
  it('names the reason of the marker', () => {
    expect(
      readRejection('Traceback\nValueError: validator_rejection=quantized_size (33600)\n'),
    ).toBe('quantized_size');
    expect(readRejection('fine')).toBeNull();
  });
});
