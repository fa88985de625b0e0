/**
 * What is known of the values of a plan before it runs: expressions evaluated as far as that goes.
 *
 * An expression is known when what is known settles it, whatever the rest turns out to be: `false && …` is. So a name,
 * a step or an input that is not known yet is read as an error of a value, which CEL's `&&`, `||`, `all` and `exists`
 * absorb where the other side decides, and which makes everything else unknown.
 */
import { printExpression } from '../../compiler/print-expression.js';
import { evaluate, evaluateTemplate, ExpressionError } from '../../core/evaluate.js';
import type { Expr, Template } from '../../core/expression.js';
import type { Json, JsonObject } from '../../core/json.js';

/** A value, or the text that stands for it: with `${{ … }}` where a part of it is not known yet. */
export type KnownValue =
  | { readonly known: true; readonly value: Json }
  | {
      readonly known: false;
      readonly text: string;
      /** It reads nothing unknown, and fails: so will its step. */
      readonly fails?: string;
    };

/** What is known at one place of a plan. */
export interface KnownFrame {
  /** Items of lists by their names; one that is not here is not known. */
  readonly names: JsonObject;
  /** Of `inputs` and `run`: what is known, and the names of what is there but not known. */
  readonly roots: { readonly [root in 'inputs' | 'run']: KnownRoot };
  /** Outputs by the id of their step; null for a step that certainly has none. Others are not known. */
  readonly steps: { [id: string]: JsonObject | null };
}

interface KnownRoot {
  readonly values: JsonObject;
  readonly unknown: readonly string[];
}

/** The value of an expression, or its text. */
export function knownExpression(expr: Expr, frame: KnownFrame): KnownValue {
  const marked = markUnknown(expr, frame);
  try {
    return { known: true, value: evaluate(marked.expr, scopeOf(frame)) };
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    const text = `\${{ ${printExpression(expr)} }}`;
    return marked.isWhole ? { known: false, text, fails: error.message } : { known: false, text };
  }
}

/** The value of a template, or its text with what is known filled in. */
export function knownTemplate(template: Template, frame: KnownFrame): KnownValue {
  switch (template.t) {
    case 'value':
      return { known: true, value: template.value };
    case 'expr':
      return knownExpression(template.expr, frame);
    case 'text':
      return joinParts(
        template.parts.map((part) =>
          typeof part === 'string'
            ? { known: true, value: part }
            : asText(knownExpression(part, frame)),
        ),
        (texts) => texts.join(''),
        (texts) => texts.join(''),
      );
    case 'list':
      return joinParts(
        template.items.map((item) => knownTemplate(item, frame)),
        (values) => [...values],
        (texts) => `[${texts.join(', ')}]`,
      );
    case 'map':
      return joinParts(
        template.entries.map(([, value]) => knownTemplate(value, frame)),
        (values) =>
          Object.fromEntries(
            values.map((value, index) => [template.entries[index]?.[0] ?? '', value]),
          ),
        (texts) =>
          `{${texts.map((text, index) => `${template.entries[index]?.[0] ?? ''}: ${text}`).join(', ')}}`,
      );
  }
}

/** Names of the steps that an expression reads, `has(...)` included. */
export function stepsRead(node: unknown, found: Set<string> = new Set()): Set<string> {
  if (Array.isArray(node)) for (const item of node) stepsRead(item, found);
  else if (typeof node === 'object' && node !== null) {
    const { op, of, key } = node as {
      op?: unknown;
      of?: { op?: unknown; name?: unknown };
      key?: unknown;
    };
    const isStep = (op === 'member' || op === 'has') && of?.op === 'name' && of.name === 'steps';
    if (isStep && typeof key === 'string') found.add(key);
    for (const value of Object.values(node)) stepsRead(value, found);
  }
  return found;
}

function asText(value: KnownValue): KnownValue {
  if (!value.known) return value;
  const { value: inner } = value;
  const text = evaluateTemplate({ t: 'text', parts: [{ op: 'lit', value: inner }] }, {});
  return { known: true, value: text };
}

function joinParts(
  parts: readonly KnownValue[],
  toValue: (values: readonly Json[]) => Json,
  toText: (texts: readonly string[]) => string,
): KnownValue {
  if (parts.every((part) => part.known)) {
    return { known: true, value: toValue(parts.map(({ value }) => value)) };
  }
  const fails = parts.map((part) => (part.known ? undefined : part.fails)).find(Boolean);
  const text = toText(parts.map(textOf));
  return { known: false, text, ...(fails === undefined ? {} : { fails }) };
}

function textOf(part: KnownValue): string {
  if (!part.known) return part.text;
  return typeof part.value === 'string' ? part.value : JSON.stringify(part.value);
}

function scopeOf({ names, roots, steps }: KnownFrame): JsonObject {
  const given = Object.entries(steps).flatMap(([id, outputs]) =>
    outputs === null ? [] : [[id, outputs] as const],
  );
  return {
    ...names,
    inputs: roots.inputs.values,
    run: roots.run.values,
    steps: Object.fromEntries(given),
  };
}

/** No name can be spelled so: reading it is an error, as reading what is not known must be. */
const UNKNOWN: Expr = { op: 'name', name: '?' };

/** The expression with each reading of something unknown marked; `isWhole` where there was none. */
function markUnknown(
  expr: Expr,
  frame: KnownFrame,
): { readonly expr: Expr; readonly isWhole: boolean } {
  let isWhole = true;
  const unknown = (): Expr => {
    isWhole = false;
    return UNKNOWN;
  };
  const visit = (node: Expr, bound: ReadonlySet<string>): Expr => {
    const inner = (one: Expr): Expr => visit(one, bound);
    switch (node.op) {
      case 'lit':
        return node;
      case 'name':
        return bound.has(node.name) || isKnownWhole(node.name, frame) ? node : unknown();
      case 'member':
      case 'has':
        if (node.of.op === 'name' && !bound.has(node.of.name) && isRoot(node.of.name))
          return isKnownMember(node.of.name, node.key, frame) ? node : unknown();
        return { ...node, of: inner(node.of) };
      case 'index':
        return { ...node, of: inner(node.of), by: inner(node.by) };
      case 'list':
        return { ...node, items: node.items.map(inner) };
      case 'map':
        return { ...node, entries: node.entries.map(([key, value]) => [inner(key), inner(value)]) };
      case 'call':
        return { ...node, args: node.args.map(inner) };
      case 'comprehension': {
        const inside = new Set(bound).add(node.as);
        return {
          ...node,
          of: inner(node.of),
          ...(node.where === undefined ? {} : { where: visit(node.where, inside) }),
          body: visit(node.body, inside),
        };
      }
    }
  };
  return { expr: visit(expr, new Set()), isWhole };
}

function isRoot(name: string): name is 'inputs' | 'run' | 'steps' {
  return name === 'inputs' || name === 'run' || name === 'steps';
}

function isKnownWhole(name: string, { names, roots }: KnownFrame): boolean {
  if (name === 'inputs' || name === 'run') return roots[name].unknown.length === 0;
  return name !== 'steps' && Object.hasOwn(names, name);
}

function isKnownMember(
  root: 'inputs' | 'run' | 'steps',
  key: string,
  { roots, steps }: KnownFrame,
): boolean {
  return root === 'steps' ? Object.hasOwn(steps, key) : !roots[root].unknown.includes(key);
}
