/** Comparisons with a word that an enumeration does not have: they are always false, whatever the run does. */
import type { ASTNode } from '@marcbachmann/cel-js';
import { isStepErrorCode } from '../core/error.js';
import { codeHint } from './code-hint.js';
import { listNames, suggestHint } from './suggest.js';
import { printType, type Type } from './types.js';

interface Problem {
  readonly node: ASTNode;
  readonly message: string;
  readonly hint: string;
}

type Words = Type & { readonly kind: 'one_of' };

/** What is wrong with an `==`, a `!=` or an `in`. `typeOf` gives null where the type is not known. */
export function findIdleWords(
  node: ASTNode & { readonly op: '==' | '!=' | 'in' },
  typeOf: (node: ASTNode) => Type | null,
  textOf: (node: ASTNode) => string,
): Problem[] {
  const [left, right] = node.args;
  const wordsOf = (one: ASTNode): Words | null => asWords(typeOf(one));
  if (node.op !== 'in') return compare(node, left, right, wordsOf, textOf);
  if (right.op === 'list')
    return right.args.flatMap((item) => compare(item, left, item, wordsOf, textOf));
  const type = typeOf(right);
  const of = type?.kind === 'list' ? asWords(type.of) : null;
  const one = wordsOf(left);
  if (of === null || one === null || !areUnlike(one, of)) return [];
  return [
    left.op === 'value'
      ? {
          node: left,
          message: `no item of \`${textOf(right)}\` is ever ${printType(one)}`,
          hint: hintFor(one, of),
        }
      : unlike(node, one, of),
  ];
}

function compare(
  whole: ASTNode,
  left: ASTNode,
  right: ASTNode,
  wordsOf: (node: ASTNode) => Words | null,
  textOf: (node: ASTNode) => string,
): Problem[] {
  const one = wordsOf(left);
  const other = wordsOf(right);
  if (one === null || other === null || !areUnlike(one, other)) return [];
  for (const [literal, written, against, type] of [
    [right, other, left, one],
    [left, one, right, other],
  ] as const) {
    if (literal.op !== 'value') continue;
    const message = `\`${textOf(against)}\` is never ${printType(written)}`;
    return [{ node: literal, message, hint: hintFor(written, type) }];
  }
  return [unlike(whole, one, other)];
}

/** What may be meant by what is written, of the values that there are. */
function hintFor({ values: [word = ''] }: Words, { values, label }: Words): string {
  if (label === undefined) return suggestHint(word, values, '');
  return isStepErrorCode(word) ? `it is one of ${listNames(values)} here` : codeHint(word, '');
}

function unlike(node: ASTNode, one: Words, other: Words): Problem {
  return {
    node,
    message: `these are never the same: ${printType(one)} on one side, ${printType(other)} on the other`,
    hint: 'compare values that have a word in common',
  };
}

function asWords(type: Type | null): Words | null {
  if (type?.kind === 'nullable') return asWords(type.of);
  return type?.kind === 'one_of' ? type : null;
}

/** They have no word in common. Between texts that are all written out that is no mistake of spelling. */
function areUnlike(one: Words, other: Words): boolean {
  if (one.written === true && other.written === true) return false;
  return !one.values.some((word) => other.values.includes(word));
}
