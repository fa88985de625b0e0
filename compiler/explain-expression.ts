/** What the expression library says is wrong, in the words of a pipeline. */
import type { ParseError } from '@marcbachmann/cel-js';

interface Explained {
  readonly message: string;
  readonly hint: string;
}

const OPERATORS =
  'operators are `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `&&`, `||`, `!`, `+`, `-`, `*`, `/`, `%` and `? :`';

/** Words that are operators in other languages. */
const OTHER_OPERATORS: ReadonlyMap<string, string> = new Map([
  ['contains', 'write `text.contains(part)`, or `item in list`'],
  ['is', 'compare with `==`'],
  ['eq', 'compare with `==`'],
  ['ne', 'compare with `!=`'],
  ['lt', 'compare with `<`'],
  ['gt', 'compare with `>`'],
  ['if', 'write `condition ? value : other`'],
  ['then', 'write `condition ? value : other`'],
]);

/** What the library calls its tokens, as an author writes them. */
const TOKENS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    COLON: '`:`',
    COMMA: '`,`',
    RPAREN: '`)`',
    RBRACKET: '`]`',
    RBRACE: '`}`',
    IDENTIFIER: 'a name',
  }),
);

/** What an expression in `${{ … }}`, or in `{{ … }}`, holds, where it is nothing else; null otherwise. */
export function bracedIn(text: string): string | null {
  const trimmed = text.trim();
  return /^\$?\{\{/.test(trimmed) && trimmed.endsWith('}}')
    ? trimmed
        .replace(/^\$?\{\{/, '')
        .slice(0, -2)
        .trim()
    : null;
}

/** `text` is the expression that does not parse. */
export function explainParseError(error: ParseError, text: string): Explained {
  const { start, end } = error.range ?? { start: 0, end: 0 };
  const piece = text.slice(start, Math.max(end, start + 1));
  const before = text.slice(0, start).trimEnd();
  if (error.summary.endsWith('EOF'))
    return { message: 'the expression ends too early', hint: 'is a bracket or a value missing?' };
  if (text.startsWith('=>', start))
    return { message: '`=>` is no operator', hint: 'write `.filter(x, x > 1)`' };
  if (piece === '=') return { message: '`=` is no operator', hint: 'compare with `==`' };
  if (piece.startsWith('$') || text.trimStart().startsWith('{{')) {
    const inner = bracedIn(text);
    return {
      message: piece.startsWith('$') ? '`${{` does not belong here' : '`{{` does not belong here',
      hint:
        inner === null || inner === '' || inner.length > 200
          ? 'this place takes the bare expression'
          : `this place takes the bare expression: \`${inner}\``,
    };
  }
  if (error.code === 'limit_exceeded')
    return { message: 'the expression is too large', hint: 'move the work into a step' };
  const lastWord = /\w*$/.exec(before.slice(-80))?.[0] ?? '';
  const word = [piece, lastWord].find((one) => /^(?:and|or|not)$/.test(one));
  if (word !== undefined)
    return { message: `\`${word}\` is no operator`, hint: 'write `&&`, `||` and `!`' };
  if (/^\w/.test(piece) && before.length < start && /[\w)\]"']$/.test(before)) {
    const next = /^\w{0,80}/.exec(text.slice(start))?.[0] ?? '';
    const other = OTHER_OPERATORS.get(next.toLowerCase());
    if (other !== undefined) return { message: `\`${next}\` is no operator`, hint: other };
    return {
      message: `there is no operator between \`${before.slice(-1) === lastWord.slice(-1) ? lastWord : before.slice(-1)}\` and \`${next}\``,
      hint: OPERATORS,
    };
  }
  return explainToken(error.summary, piece, text.slice(start - 1, start + 1));
}

function explainToken(summary: string, piece: string, pair: string): Explained {
  if (/^Unterminated string/i.test(summary))
    return {
      message: 'this text is not closed',
      hint: 'end it with the quote that it begins with',
    };
  if (/^Unexpected (?:token|character)/i.test(summary)) {
    const meant = pair === '<>' ? '!=' : piece === '&' ? '&&' : piece === '|' ? '||' : null;
    return {
      message: `\`${meant === '!=' ? pair : piece}\` ${meant === null ? 'cannot stand here' : 'is no operator'}`,
      hint: meant === null ? OPERATORS : `write \`${meant}\``,
    };
  }
  const [, expected = '', got = ''] = /^Expected (\w+), got (\w+)$/i.exec(summary) ?? [];
  const missing = TOKENS.get(expected);
  if (missing !== undefined)
    return {
      message: `${missing} is missing before this`,
      hint: got === 'QUESTION' ? 'optional access is not available; use `has(...)`' : '',
    };
  const said = summary.charAt(0).toLowerCase() + summary.slice(1);
  return { message: `this does not parse: ${said}`, hint: '' };
}

/** What the library says of types. */
const TYPE_MESSAGES: ReadonlyArray<readonly [RegExp, string]> = [
  [
    /^map value uses wrong type, expected type '(.+)' but found '(.+)'$/,
    'the values of a map have one type: the first is $1, and this is $2',
  ],
  [
    /^list elements must have the same type, expected type '(.+)' but found '(.+)'$/,
    'the items of a list have one type: the first is $1, and this is $2',
  ],
  [
    /^ternary branches must have the same type, got '(.+)' and '(.+)'$/,
    'both values of `? :` have one type: these are $1 and $2',
  ],
  [/^logical operator requires bool operands, got '(.+)'$/, 'this takes true or false, not $1'],
  [
    /^(\w+)\(var, predicate\) predicate must return bool, got '(.+)'$/,
    '`$1` asks for true or false, not $2',
  ],
  [/^list index must be int, got '(.+)'$/, 'an item of a list is read by an int, not $1'],
];

export function explainTypeMessage(message: string): string {
  const found = TYPE_MESSAGES.find(([pattern]) => pattern.test(message));
  return found === undefined ? message : message.replace(found[0], found[1]);
}

/** What to do about an operator between values of these types; empty when the message says it all. */
export function operatorHint(op: string, types: readonly (string | undefined)[]): string {
  const has = (name: string): boolean => types.includes(name);
  if (has('int') && has('number'))
    return 'an int and a number do not mix: write `2.0` for `2`, or convert with `double(...)`';
  if (op === '+' && has('string')) return 'convert with `string(...)`';
  if ((has('int') || has('number')) && has('string'))
    return 'write a number without quotes; a text that holds one is read with `int(...)` or `double(...)`';
  if (op === 'in' && types.every((name) => name === 'string'))
    return 'to look into a text write `text.contains(part)`';
  if (has('bool') && has('string')) return 'write `true` and `false` without quotes';
  if (['<', '<=', '>', '>='].includes(op) && has('bool')) return 'compare twice: `a < b && b < c`';
  if (op !== 'in' && types.every((name) => name === 'duration' || name === 'timestamp'))
    return 'expressions do not calculate with times; they are passed on';
  if (op === 'in' || types.every(isScalar) || !types.some(isScalar)) return '';
  if (types.some((name) => name?.startsWith('list<') === true))
    return 'read one of its items, or ask with `.exists(x, …)`';
  return has('duration') || has('timestamp')
    ? 'expressions do not calculate with times; they are passed on'
    : 'read a member of it';
}

function isScalar(name: string | undefined): boolean {
  return name !== undefined && ['string', 'int', 'number', 'bool'].includes(name);
}
