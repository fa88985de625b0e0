/** What an `approve` step shows, asks and gives. */
import type { AnswerField, AnswerType } from '../core/answer-fields.js';
import { parseDuration } from '../core/duration.js';
import type { Template } from '../core/expression.js';
import type { ApproveStep as PlannedApproval } from '../core/plan.js';
import { LONGEST_WAIT_MS } from '../core/run-wait.js';
import { approveOutputs } from './block-types.js';
import type { Diagnostics } from './diagnostic.js';
import type { ApproveStep, InputDeclaration } from './pipeline.js';
import type { Scope } from './scope.js';
import { compileTemplate } from './template.js';
import { ANY, printType, STRING, type Type } from './types.js';
import { headOf } from './read-map.js';
import { toJson, type SourceNode } from './yaml.js';

export function compileApprove(
  step: ApproveStep,
  scope: Scope,
  diagnostics: Diagnostics,
): { plan: PlannedApproval; outputs: Type } {
  const at = (name: string): Parameters<typeof compileTemplate>[2] => ({
    name,
    scope,
    diagnostics,
  });
  const { expires, summary } = step;
  if (expires === undefined)
    diagnostics.warn(
      'APPROVAL_ENDLESS',
      step.range,
      'this approval has no `expires`: without an answer the run waits for ever',
      'give it a time, such as `expires: 24h`; the run then stops',
    );
  const plan: PlannedApproval = {
    key: step.key,
    kind: 'approve',
    ...(summary === undefined
      ? {}
      : { summary: compileTemplate(summary, STRING, at('summary')).template }),
    show: step.show.map(({ key, value }) => [key, compileTemplate(value, ANY, at(key)).template]),
    fields: step.fields.flatMap((field) => toField(field, diagnostics) ?? []),
    ...(expires === undefined ? {} : { expires: compileExpires(expires, at('expires')) }),
    quorum: step.quorum,
  };
  return { plan, outputs: approveOutputs(step.key, step.fields) };
}

function compileExpires(node: SourceNode, place: Parameters<typeof compileTemplate>[2]): Template {
  const { template } = compileTemplate(node, { kind: 'duration' }, place);
  checkLength(template, node, '`expires`', place.diagnostics);
  return template;
}

/** What is written out and longer than any wait is told here: the run could only fail at it. `what` names it. */
export function checkLength(
  template: Template,
  node: SourceNode,
  what: string,
  diagnostics: Diagnostics,
): void {
  const { value } = template.t === 'value' ? template : { value: null };
  if (typeof value !== 'string' || (parseDuration(value) ?? 0) <= LONGEST_WAIT_MS) return;
  diagnostics.add(
    'VALUE_INVALID',
    headOf(node),
    `${what} is at most ten years`,
    what === '`wait`'
      ? 'write `3650d` or less, or wait for a decision with `approve`'
      : 'write `3650d` or less; without it the approval has no end',
  );
}

/** Null when nobody could write down a value of its type, which is told. */
function toField(field: InputDeclaration, diagnostics: Diagnostics): AnswerField | null {
  const { name, nameRange, type, summary, required, default: instead } = field;
  if (type.kind === 'unknown') return null;
  const answer = toAnswerType(type);
  if (answer === null) {
    diagnostics.add(
      'INPUT_TYPE_UNKNOWN',
      nameRange,
      `the field \`${name}\` is of type ${printType(type)}, which nobody writes down`,
      'a field is a string, int, number, bool, duration or timestamp, one of some words, or a list or map of these',
    );
    return null;
  }
  return {
    name,
    type: answer,
    summary,
    required,
    ...(instead === undefined ? {} : { default: toJson(instead) }),
  };
}

function toAnswerType(type: Type): AnswerType | null {
  switch (type.kind) {
    case 'string':
    case 'int':
    case 'number':
    case 'bool':
    case 'duration':
    case 'timestamp':
      return { kind: type.kind };
    case 'one_of':
      return { kind: 'one_of', values: type.values };
    case 'list':
    case 'map': {
      const of = toAnswerType(type.of);
      return of === null ? null : { kind: type.kind, of };
    }
    default:
      return null;
  }
}
