/** What an `approve` step shows, asks and gives. */
import type { AnswerField, AnswerType } from '../core/answer-fields.js';
import type { ApproveStep as PlannedApproval } from '../core/plan.js';
import { approveOutputs } from './block-types.js';
import type { Diagnostics } from './diagnostic.js';
import type { ApproveStep, InputDeclaration } from './pipeline.js';
import type { Scope } from './scope.js';
import { compileTemplate } from './template.js';
import { ANY, printType, STRING, type Type } from './types.js';
import { toJson } from './yaml.js';

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
    ...(expires === undefined
      ? {}
      : { expires: compileTemplate(expires, { kind: 'duration' }, at('expires')).template }),
    quorum: step.quorum,
  };
  return { plan, outputs: approveOutputs(step.key, step.fields) };
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
