import { describe, expect, it } from 'vitest';
import {
  evaluate,
  evaluateTemplate,
  ExpressionError,
  MAX_ITERATIONS,
  MAX_RESULT_BYTES,
} from './evaluate.js';
import type { Expr } from './expression.js';
import type { Json } from './json.js';

const lit = (value: Json): Expr => ({ op: 'lit', value });
const name = (of: string): Expr => ({ op: 'name', name: of });
const call = (fn: string, ...args: Expr[]): Expr => ({ op: 'call', fn, args });
const each = (
  macro: 'all' | 'exists' | 'map' | 'filter' | 'exists_one',
  of: Expr,
  body: Expr,
): Expr => ({
  op: 'comprehension',
  macro,
  of,
  as: 'x',
  body,
});
const broken = call('_/_int', lit(1), lit(0));

describe('evaluate', () => {
  it.each<[string, Expr, Json]>([
    ['divides ints without a remainder, towards zero', call('_/_int', lit(-7), lit(2)), -3],
    ['divides doubles', call('_/_double', lit(7), lit(2)), 3.5],
    ['lets && decide in spite of an error on either side', call('_&&_', broken, lit(false)), false],
    ['lets || decide in spite of an error on either side', call('_||_', broken, lit(true)), true],
    [
      'lets all decide in spite of an error of another item',
      each('all', lit([0, 1]), call('_==_', call('_/_int', lit(1), name('x')), lit(2))),
      false,
    ],
    ['leaves out the branch that is not taken', call('_?_:_', lit(true), lit(1), broken), 1],
    ['compares numbers by value', call('_==_', lit([1, { a: 2 }]), lit([1, { a: 2 }])), true],
    ['counts characters, not UTF-16 units', call('size', lit('a😀')), 2],
    [
      'keeps a key that objects have of their own',
      { op: 'map', entries: [[lit('constructor'), lit(1)]] },
      { constructor: 1 },
    ],
    ['writes numbers as CEL does', call('string', lit(1e21)), '1e+21'],
  ])('%s', (_title, expr, value) => {
    expect(evaluate(expr, {})).toEqual(value);
  });

  it.each<[string, Expr, string]>([
    ['a division by zero', broken, 'division by zero'],
    [
      'an int beyond 2^53',
      call('_*_int', lit(2 ** 52), lit(4)),
      'int overflow: 18014398509481984 is beyond ±9007199254740991',
    ],
    [
      'an index that is not there',
      { op: 'index', of: lit([1]), by: lit(1) },
      'index 1 is out of range: the list has 1 items',
    ],
    [
      'a member that is not there',
      { op: 'member', of: lit({ a: 1 }), key: 'b' },
      'there is no member `b`',
    ],
    [
      'a member that only the prototype has',
      { op: 'member', of: lit({}), key: 'toString' },
      'there is no member `toString`',
    ],
    [
      'a member of a text',
      { op: 'member', of: lit('a'), key: 'length' },
      '`length` was read from the string "a", which has no members',
    ],
    ['a name that is not there', name('nobody'), 'there is no `nobody` here'],
    [
      'a function that is not there',
      call('matches', lit('a'), lit('a')),
      'there is no function `matches`',
    ],
    [
      'a function that every object has',
      call('toString', lit('a')),
      'there is no function `toString`',
    ],
    [
      'a result that JSON cannot hold',
      call('_/_double', lit(1), lit(0)),
      'the result Infinity is not a finite number',
    ],
    [
      'an order between unlike values',
      call('_<_', lit(1), lit('a')),
      'the number 1 and the string "a" have no order',
    ],
    [
      'a condition that is not a bool',
      call('_?_:_', lit(1), lit(1), lit(1)),
      'true or false is needed, not the number 1',
    ],
    [
      'a key that would set a prototype',
      { op: 'map', entries: [[lit('__proto__'), lit(1)]] },
      '`__proto__` is not a key',
    ],
    ['a text that is no int', call('int', lit('0x10')), 'the string "0x10" is not an int'],
  ])('refuses %s', (_title, expr, message) => {
    expect(() => evaluate(expr, {})).toThrow(new ExpressionError(message));
  });

  it('counts the turns of nested macros together, and absorbs that limit nowhere', () => {
    const items = lit(Array.from({ length: 1_000 }, (_, at) => at));
    const nested = each('all', items, each('all', items, lit(true)));
    const message = `more than ${MAX_ITERATIONS} iterations`;
    expect(() => evaluate(nested, {})).toThrow(message);
    expect(() => evaluate(call('_||_', nested, lit(true)), {})).toThrow(message);
    expect(evaluate(each('all', items, lit(true)), {})).toBe(true);
  });

  it('bounds a result that grows by doubling, in text, lists and shared parts', () => {
    let text = lit('0123456789');
    let list = lit([0, 1, 2, 3]);
    let shared: Expr = name('seed');
    for (let turn = 0; turn < 40; turn += 1) {
      text = {
        op: 'index',
        of: each('map', { op: 'list', items: [text] }, call('_+_string', name('x'), name('x'))),
        by: lit(0),
      };
      list = {
        op: 'index',
        of: each('map', { op: 'list', items: [list] }, call('_+_list', name('x'), name('x'))),
        by: lit(0),
      };
      shared = {
        op: 'index',
        of: each(
          'map',
          { op: 'list', items: [shared] },
          { op: 'list', items: [name('x'), name('x')] },
        ),
        by: lit(0),
      };
    }
    expect(() => evaluate(text, {})).toThrow(`the result is larger than ${MAX_RESULT_BYTES} bytes`);
    expect(() => evaluate(list, {})).toThrow('more work than one expression may do');
    expect(() => evaluate(shared, { seed: 1 })).toThrow(
      `the result is larger than ${MAX_RESULT_BYTES} bytes`,
    );
    expect(() =>
      evaluate(call('_==_', shared, call('_+_list', shared, lit([]))), { seed: 1 }),
    ).toThrow('more work');
  });

  it('sees the innermost of two variables of one name, and none of them outside', () => {
    const inner = each('map', lit([10]), name('x'));
    expect(evaluate(each('map', lit([1, 2]), inner), {})).toEqual([[10], [10]]);
    expect(
      evaluate(
        call('_+_list', each('map', lit([1]), name('x')), { op: 'list', items: [name('x')] }),
        { x: 5 },
      ),
    ).toEqual([1, 5]);
  });
});

describe('evaluateTemplate', () => {
  it('keeps types of whole expressions and writes the others into the text', () => {
    const count: Expr = { op: 'member', of: name('inputs'), key: 'count' };
    const scope = { inputs: { count: 3 } };
    expect(evaluateTemplate({ t: 'expr', expr: count }, scope)).toBe(3);
    expect(evaluateTemplate({ t: 'text', parts: ['n = ', count, '!'] }, scope)).toBe('n = 3!');
    expect(
      evaluateTemplate(
        {
          t: 'map',
          entries: [
            [
              'a',
              {
                t: 'list',
                items: [
                  { t: 'value', value: null },
                  { t: 'expr', expr: count },
                ],
              },
            ],
          ],
        },
        scope,
      ),
    ).toEqual({ a: [null, 3] });
  });

  it('refuses a list inside a text', () => {
    expect(() => evaluateTemplate({ t: 'text', parts: [lit([1])] }, {})).toThrow(
      'a list of 1 cannot be written as text',
    );
  });
});
