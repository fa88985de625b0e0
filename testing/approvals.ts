/** What people answer to approvals in a test: every mistake in it is told at its place. */
import { headOf, MapReader } from '../compiler/read-map.js';
import { suggestHint } from '../compiler/suggest.js';
import { compileTemplate } from '../compiler/template.js';
import type { Field, Type } from '../compiler/types.js';
import type { Entry, SourceNode } from '../compiler/yaml.js';
import { printFields, readFields, type AnswerField } from '../core/answer-fields.js';
import { evaluateTemplate, ExpressionError } from '../core/evaluate.js';
import { isJsonObject, type Json, type JsonObject } from '../core/json.js';
import type { ApproveStep } from '../core/plan.js';
import { findStep, readScripts, type Reading } from './outcomes.js';
import { kindOf } from './step-names.js';
import { valueScope } from './step-outputs.js';
import type { AnswerTurn, ApprovalScript } from './test-file.js';
import { withoutAbsent, writtenType } from './written-type.js';

/** Who answers where a test does not say. */
export const SOMEBODY = 'somebody';

export const ANSWER_KEYS = ['approve', 'reject', 'by', 'after', 'reason'] as const;

interface Asked {
  readonly step: ApproveStep;
}

/** `own` are those of a test, which must be used. */
export function readApprovals(
  node: SourceNode | undefined,
  own: boolean,
  reading: Reading,
): readonly ApprovalScript[] {
  const find = (entry: Entry): (Asked & { readonly pattern: string }) | null =>
    findApproval(entry, reading);
  return readScripts(node, own, 'approvals', reading, find, readAnswer);
}

function findApproval(
  entry: Entry,
  reading: Reading,
): (Asked & { readonly pattern: string }) | null {
  const { key, keyRange } = entry;
  const { names, diagnostics } = reading;
  const found = findStep(entry, reading);
  if (found === null) return null;
  const { step } = found.named;
  if (step?.kind === 'approve') return { step, pattern: found.pattern };
  const approvals = names.all.flatMap((one) =>
    one.step?.kind === 'approve' ? [`\`${one.step.id ?? one.path}\``] : [],
  );
  diagnostics.add(
    'VALUE_INVALID',
    keyRange,
    `\`${key}\` is ${kindOf(found.named)}, which waits for no approval`,
    approvals.length === 0
      ? 'the pipeline has no `approve` step'
      : `those that do: ${approvals.slice(0, 12).join(', ')}`,
  );
  return null;
}

function readAnswer(node: SourceNode, { step }: Asked, reading: Reading): AnswerTurn | null {
  const { diagnostics } = reading;
  const range = headOf(node);
  const plain = { range, afterMs: 0, by: SOMEBODY };
  if (node.kind !== 'map') {
    if (node.kind === 'scalar' && node.broken === true) return null;
    const word = node.kind === 'scalar' ? String(node.value) : '';
    if (word === 'reject') return { ...plain, action: 'reject' };
    if (word === 'approve') {
      const fields = readGiven(null, node, step.fields, reading);
      return fields === null ? null : { ...plain, action: 'approve', fields };
    }
    diagnostics.add(
      'VALUE_INVALID',
      range,
      'an answer is `approve`, `reject`, or a map with one of them',
      word === '' ? '' : suggestHint(word, ['approve', 'reject'], ''),
    );
    return null;
  }
  const reader = new MapReader(node, diagnostics, {
    what: 'an answer',
    keys: ANSWER_KEYS,
    misplaced: new Map(
      step.fields.map(({ name }) => [
        name,
        `fields stand under \`approve\`: \`{ approve: { ${name}: … } }\``,
      ]),
    ),
  });
  const afterMs = reader.duration('after') ?? 0;
  const by = textOf(reader, 'by') ?? SOMEBODY;
  const who = { range, afterMs, by };
  const approve = reader.get('approve');
  const reject = reader.get('reject');
  if (approve !== undefined && reject !== undefined) {
    diagnostics.add(
      'VALUE_INVALID',
      reader.keyRange('reject'),
      '`approve` and `reject` are two answers',
      'keep one; for one after the other write a list',
    );
    return null;
  }
  if (reject !== undefined) {
    if (reader.has('reason'))
      diagnostics.add(
        'VALUE_INVALID',
        reader.keyRange('reason'),
        'the reason of a rejection is its value',
        'for instance `{ reject: The gain is too small. }`',
      );
    const reason = isNothing(reject) ? null : textOf(reader, 'reject');
    return { ...who, action: 'reject', ...(reason === null ? {} : { reason }) };
  }
  if (approve !== undefined) {
    const fields = readGiven(isNothing(approve) ? null : approve, approve, step.fields, reading);
    const reason = textOf(reader, 'reason');
    if (fields === null) return null;
    return { ...who, action: 'approve', fields, ...(reason === null ? {} : { reason }) };
  }
  if (!reader.isReported('approve') && !reader.isReported('reject'))
    diagnostics.add(
      'KEY_MISSING',
      range,
      'an answer needs `approve` or `reject`',
      'for instance `{ approve, by: ann, after: 10m }`',
    );
  return null;
}

/** The fields of an answer, typed as the step declares them; null where there is a mistake. */
function readGiven(
  node: SourceNode | null,
  place: SourceNode,
  fields: readonly AnswerField[],
  { diagnostics, values }: Reading,
): JsonObject | null {
  let given: Json = {};
  if (node !== null) {
    if (node.kind === 'scalar' && node.broken === true) return null;
    const type = typeOf(fields);
    const before = diagnostics.size;
    const scope = valueScope(values, null);
    const { template } = compileTemplate(node, type, { name: 'approve', scope, diagnostics });
    scope.file.report(diagnostics);
    if (diagnostics.size > before) return null;
    try {
      given = withoutAbsent(evaluateTemplate(template, { values }), type);
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      diagnostics.add('VALUE_TYPE', headOf(node), `this cannot be computed: ${error.message}`);
      return null;
    }
  }
  const read = readFields(fields, given);
  if ('problem' in read) {
    diagnostics.add(
      'VALUE_INVALID',
      headOf(place),
      `this answer does not count. ${read.problem}`,
      fields.length === 0 ? 'the step asks for no fields' : `it asks for: ${printFields(fields)}`,
    );
    return null;
  }
  return isJsonObject(given) ? given : null;
}

function typeOf(declared: readonly AnswerField[]): Type {
  const fields = new Map<string, Field>(
    declared.map(({ name, type, summary, required, default: instead }) => [
      name,
      { type, summary, optional: !required || instead !== undefined },
    ]),
  );
  return writtenType({ kind: 'record', label: 'the fields of the approval', fields });
}

function textOf(reader: MapReader, key: string): string | null {
  const value = reader.text(key)?.value;
  return typeof value === 'string' ? value : null;
}

function isNothing(node: SourceNode): boolean {
  return node.kind === 'scalar' && node.value === null && node.broken !== true;
}
