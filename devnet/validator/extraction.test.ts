import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { metricFromResult, metricFromText, ResultUnusable } from './extraction.js';
import { parsePythonJson } from './python-json.js';

const run = promisify(execFile);

const fromResult = (result: unknown): number | undefined =>
  metricFromResult(JSON.stringify(result), 'ppl');

describe('the metric in a result file', () => {
  it('is metric_value where the name fits, then metrics, then the top level', () => {
    const all = { metric_name: 'ppl', metric_value: 1, metrics: { ppl: 2 }, ppl: 3 };
    expect(fromResult(all)).toBe(1);
    expect(fromResult({ ...all, metric_name: 'loss' })).toBe(2);
    expect(fromResult({ metric_name: 'ppl', metrics: { ppl: 2 }, ppl: 3 })).toBe(2);
    expect(fromResult({ metrics: [2], ppl: 3 })).toBe(3);
    expect(fromResult({ metrics: { other: 2 } })).toBeUndefined();
    expect(fromResult([{ ppl: 3 }])).toBeUndefined();
  });

  it("is converted as by Python's float", () => {
    expect(fromResult({ ppl: true })).toBe(1);
    expect(fromResult({ ppl: ' 1_0.5e1 ' })).toBe(105);
    expect(fromResult({ ppl: 'nan' })).toBeNaN();
    expect(fromResult({ ppl: '-Infinity' })).toBe(Number.NEGATIVE_INFINITY);
    expect(metricFromResult('{"ppl": NaN}', 'ppl')).toBeNaN();
    expect(metricFromResult('{"ppl": 1e999}', 'ppl')).toBe(Number.POSITIVE_INFINITY);
    expect(metricFromResult('{"ppl": 149312.0}', 'ppl')).toBe(149_312);
  });

  it('ends the cycle when it is null or no scalar, and the replay when it is no number', () => {
    expect(() => fromResult({ ppl: null })).toThrow(TypeError);
    expect(() => fromResult({ metric_name: 'ppl', metric_value: null, ppl: 3 })).toThrow(
      'not null',
    );
    expect(() => fromResult({ ppl: [1] })).toThrow('not a list');
    expect(() => fromResult({ ppl: 'low' })).toThrow(ResultUnusable);
    expect(() => fromResult({ ppl: '0x10' })).toThrow(ResultUnusable);
  });

  it('is not there when the file is no JSON', () => {
    for (const text of [
      '',
      '{',
      '{"ppl": 1,}',
      '{"ppl": .5}',
      '{"ppl": 1} x',
      '\ufeff{"ppl": 1}',
      "{'ppl': 1}",
    ]) {
      expect(() => metricFromResult(text, 'ppl'), text).toThrow('not valid JSON');
    }
  });

  it('is looked up by names that mean something in JavaScript too', () => {
    expect(metricFromResult('{"__proto__": 4}', '__proto__')).toBe(4);
    expect(metricFromResult('{}', 'constructor')).toBeUndefined();
  });
});

describe('JSON as Python reads it', () => {
  it("agrees with Python's parser on which texts are valid", async () => {
    const piece = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"a"',
      '"\\u12',
      '"\\n"',
      '1',
      '-',
      '0',
      '01',
      '.5',
      '1.',
      '1e5',
      'E',
      '+',
      'NaN',
      '-Infinity',
      'Infinity',
      'true',
      'null',
      ' ',
      '\n',
      '\u00a0',
      '"\t"',
    );
    const texts = fc.sample(
      fc.oneof(
        fc.array(piece, { maxLength: 6 }).map((all) => all.join('')),
        fc.json(),
      ),
      { numRuns: 3_000, seed: 7 },
    );
    const program = `import json, sys
def valid(text):
    try: json.loads(text); return True
    except ValueError: return False
print(json.dumps([valid(text) for text in json.loads(sys.stdin.read())]))`;
    const running = run('python3', ['-I', '-c', program], { maxBuffer: 1 << 24 });
    running.child.stdin?.end(JSON.stringify(texts));
    const expected: unknown = JSON.parse((await running).stdout);
    const accepts = (text: string): boolean => {
      try {
        parsePythonJson(text);
        return true;
      } catch {
        return false;
      }
    };
    expect(texts.map(accepts)).toEqual(expected);
  });
});

describe('the metric in console text', () => {
  it('is the last match of the name, case ignored, after : or =', () => {
    expect(metricFromText('ppl=3\nPPL: 2.5e-1 ppl = -7', 'ppl')).toBe(-7);
    expect(metricFromText('ppl: 2.5E+1', 'ppl')).toBe(25);
    expect(metricFromText('nothing', 'ppl')).toBeUndefined();
  });

  it('begins at a word boundary', () => {
    expect(metricFromText('private_ppl=3', 'ppl')).toBeUndefined();
    expect(metricFromText('éppl=3', 'ppl')).toBeUndefined();
    expect(metricFromText('x-ppl=3', 'ppl')).toBe(3);
  });

  it('is a plain number: no dictionary, no nan, no bare fraction, no thousands', () => {
    expect(metricFromText("{'ppl': 3}", 'ppl')).toBeUndefined();
    expect(metricFromText('ppl=nan ppl=inf ppl=.5', 'ppl')).toBeUndefined();
    expect(metricFromText('ppl=1,234.5', 'ppl')).toBe(1);
  });

  it('has its name taken literally', () => {
    expect(metricFromText('a+b=4', 'a+b')).toBe(4);
    expect(metricFromText('aab=4', 'a+b')).toBeUndefined();
  });
});
