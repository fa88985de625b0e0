import { describe, expect, it } from 'vitest';
import { evaluate } from '../core/evaluate.js';
import { readMetricCondition } from './metric-condition.js';

describe('a condition over metrics', () => {
  it('sees the latest number of each metric', () => {
    const compiled = readMetricCondition('metrics.loss < 2.5 && metrics["val"] > 1');
    if (!('expr' in compiled)) throw new Error(compiled.problem);
    expect(evaluate(compiled.expr, { metrics: { loss: 2, val: 3 } })).toBe(true);
    expect(evaluate(compiled.expr, { metrics: { loss: 3, val: 3 } })).toBe(false);
  });

  it('may ask whether a metric is there yet', () => {
    const compiled = readMetricCondition('has(metrics.val) && metrics.val < 2');
    if (!('expr' in compiled)) throw new Error(compiled.problem);
    expect(evaluate(compiled.expr, { metrics: {} })).toBe(false);
  });

  it.each([
    ['metrics.loss', 'a condition is true or false; this gives number'],
    ['loss < 2', 'there is no `loss` here'],
    ['inputs.loss < 2', 'there is no `inputs` here'],
    ['steps.a.loss < 2', 'there is no `steps` here'],
    ['metrics.loss <', 'the expression ends too early'],
    ['', 'the expression is empty'],
    ['metrics.loss < "two"', '`<` does not take number and string'],
  ])('%s is refused', (text, problem) => {
    expect(readMetricCondition(text)).toMatchObject({
      problem: expect.stringContaining(problem) as string,
    });
  });
});
