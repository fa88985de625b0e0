/** What steps give that a rehearsal does not play: what they could not have given is a mistake at its place. */
import { approveOutputs } from '../compiler/block-types.js';
import type { CheckedPipeline } from '../compiler/check.js';
import type { Diagnostics } from '../compiler/diagnostic.js';
import { headOf } from '../compiler/read-map.js';
import { compileTemplate } from '../compiler/template.js';
import type { Field, Type } from '../compiler/types.js';
import type { Entry, SourceNode } from '../compiler/yaml.js';
import { readFields } from '../core/answer-fields.js';
import { evaluateTemplate, ExpressionError } from '../core/evaluate.js';
import { isJsonObject, type JsonObject } from '../core/json.js';
import { jsonSizeBytes } from '../core/json-size.js';
import type { ApproveStep, PlanStep } from '../core/plan.js';
import { MAX_OUTPUT_BYTES } from '../core/run-state.js';
import { findStep, type Reading } from './outcomes.js';
import { kindOf, type NamedStep } from './step-names.js';
import { readOutputs, valueScope } from './step-outputs.js';
import { findExpression } from './test-inputs.js';
import { holdsVerdict, typeHoldsVerdict, withoutAbsent, writtenType } from './written-type.js';

/** A step that is not played. */
export interface StandIn {
  readonly path: string;
  /** Its step type; of a block its kind. */
  readonly uses: string;
  readonly outputs: JsonObject;
}

export function readStandIns(
  node: SourceNode | undefined,
  pipeline: CheckedPipeline,
  reading: Reading,
): StandIn[] {
  const { diagnostics } = reading;
  if (node === undefined || isNothing(node)) return [];
  if (node.kind !== 'map') {
    diagnostics.add(
      'VALUE_INVALID',
      headOf(node),
      '`steps` is a map from steps to what they give',
      'for instance `approval: {}`',
    );
    return [];
  }
  const seen = new Map<string, string>();
  return node.entries.flatMap((entry) => {
    const found = findNamed(entry, reading);
    if (found === null || !isPlain(entry.value, diagnostics)) return [];
    const { path, step } = found;
    const twin = seen.get(path);
    if (twin !== undefined && twin !== entry.key) {
      diagnostics.add(
        'VALUE_INVALID',
        entry.keyRange,
        `\`${entry.key}\` and \`${twin}\` are the same step`,
        'keep one of them',
      );
    }
    seen.set(path, entry.key);
    const outputs = readGiven(entry, found, pipeline, reading);
    if (outputs === null) return [];
    return [{ path, uses: step.kind === 'step' ? step.uses : step.kind, outputs }];
  });
}

/** A rehearsal file is read before there is a run: an expression in it would have nothing to read. */
export function isPlain(node: SourceNode, diagnostics: Diagnostics): boolean {
  const expression = findExpression(node);
  if (expression === null) return true;
  diagnostics.add(
    'VALUE_INVALID',
    headOf(expression),
    'values of a rehearsal are plain: there is nothing that an expression could read',
    'write the value itself; an anchor repeats a part',
  );
  return false;
}

/** A step of the pipeline that is there once. */
interface Named extends NamedStep {
  readonly step: PlanStep;
}

function findNamed(entry: Entry, reading: Reading): Named | null {
  const { key, keyRange } = entry;
  const { names, diagnostics } = reading;
  const found = findStep(entry, reading);
  if (found === null) return null;
  const { step, turns } = found.named;
  const [block] = turns;
  if (step !== null && block === undefined) return { ...found.named, step };
  const outermost = names.nameOf(block ?? '');
  diagnostics.add(
    'VALUE_INVALID',
    keyRange,
    `\`${key}\` ${step === null ? 'is one turn of a block' : 'runs once in each turn of a block'}`,
    `say what the whole block gives: \`${outermost}: …\``,
  );
  return null;
}

function readGiven(
  { key, keyRange, value }: Entry,
  named: Named,
  pipeline: CheckedPipeline,
  reading: Reading,
): JsonObject | null {
  const { diagnostics, signatures } = reading;
  const { step, calls } = named;
  const refuse = (message: string, hint: string): null => {
    diagnostics.add('VALUE_INVALID', keyRange, message, hint);
    return null;
  };
  const isProof = (): null =>
    refuse(
      `nobody can give the outputs of \`${key}\`: they are proof that the gate was passed`,
      'let it be played, or give what the steps before it give so that it passes',
    );
  switch (step.kind) {
    case 'step': {
      const signature = signatures.get(step.uses);
      if (signature === undefined) return null;
      if (holdsVerdict(signature)) return isProof();
      const how = { name: key, readsStart: false };
      return readOutputs(value, { step, signature }, how, reading)?.value ?? null;
    }
    case 'approve':
      return readAnswered(key, value, step, reading);
    case 'wait':
      return readTyped(key, value, NOTHING, reading);
    case 'foreach':
    case 'repeat':
    case 'pipeline': {
      const type = step.id === undefined ? undefined : pipeline.stepOutputs.get(step.id);
      if (calls > 0 || type === undefined)
        return refuse(
          `\`${key}\` is ${kindOf(named)}${calls > 0 ? ' of a file that is called' : ' without an id'}, and nobody knows what it gives`,
          calls > 0 ? 'say what the whole call gives' : 'give it an `id`, or name the steps inside',
        );
      if (typeHoldsVerdict(type)) return isProof();
      return readTyped(key, value, type, reading);
    }
    default:
      return refuse(
        `\`${key}\` is ${kindOf(named)}, which runs as it is`,
        step.kind === 'stop'
          ? 'give what the steps before it give so that the run does not come by it'
          : 'name the steps inside it',
      );
  }
}

const NOTHING: Type = { kind: 'record', label: 'nothing', fields: new Map() };

/** A value of a type that is not the output of a step type. */
function readTyped(
  name: string,
  node: SourceNode,
  type: Type,
  { diagnostics, values }: Reading,
): JsonObject | null {
  if (node.kind === 'scalar' && node.broken === true) return null;
  if (node.kind !== 'map') {
    diagnostics.add(
      'VALUE_TYPE',
      headOf(node),
      `\`${name}\` takes a map from outputs to values`,
      'where there are none: `{}`',
    );
    return null;
  }
  const written = writtenType(type);
  const before = diagnostics.size;
  const scope = valueScope(values, null);
  const { template } = compileTemplate(node, written, { name, scope, diagnostics });
  scope.file.report(diagnostics);
  if (diagnostics.size > before) return null;
  const report = (message: string): null => {
    diagnostics.add('VALUE_TYPE', headOf(node), message);
    return null;
  };
  try {
    const outputs = withoutAbsent(evaluateTemplate(template, { values }), written);
    const sizeBytes = jsonSizeBytes(outputs);
    if (sizeBytes > MAX_OUTPUT_BYTES)
      return report(`it is ${sizeBytes} bytes long; at most ${MAX_OUTPUT_BYTES} may travel`);
    return isJsonObject(outputs) ? outputs : null;
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    return report(`this cannot be computed: ${error.message}`);
  }
}

/** An approval gives the fields of its answer; who gave it is nobody, unless the file says so. */
function readAnswered(
  name: string,
  node: SourceNode,
  { fields: asked }: ApproveStep,
  reading: Reading,
): JsonObject | null {
  const own = approveOutputs(name, []);
  if (own.kind !== 'record') return null;
  const fields = new Map<string, Field>(
    [...own.fields].map(([key, field]) => [key, { ...field, optional: true }]),
  );
  for (const { name: key, type, summary, required, default: instead } of asked)
    fields.set(key, { type, summary, optional: !required || instead !== undefined });
  const given = readTyped(name, node, { ...own, fields }, reading);
  if (given === null) return null;
  const { approvals = [], digest = '', ...answered } = given;
  const read = readFields(asked, answered);
  if ('values' in read) return { ...read.values, approvals, digest };
  reading.diagnostics.add('VALUE_INVALID', headOf(node), read.problem);
  return null;
}

function isNothing(node: SourceNode): boolean {
  return node.kind === 'scalar' && node.value === null && node.broken !== true;
}
