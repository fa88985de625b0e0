/** Outputs that a test gives to a step: what the step type could not have returned is a mistake at its place. */
import type { Diagnostics } from '../compiler/diagnostic.js';
import { headOf } from '../compiler/read-map.js';
import { Facts } from '../compiler/facts.js';
import { FileNames, Visible, type Scope } from '../compiler/scope.js';
import type { StepSignature } from '../compiler/step-signature.js';
import { listNames } from '../compiler/suggest.js';
import { compileTemplate } from '../compiler/template.js';
import { ANY, INT, type Field, type Type } from '../compiler/types.js';
import type { SourceNode } from '../compiler/yaml.js';
import { evaluateTemplate, ExpressionError } from '../core/evaluate.js';
import type { Expr, Template } from '../core/expression.js';
import { isJsonObject, type Json, type JsonObject } from '../core/json.js';
import { jsonSizeBytes } from '../core/json-size.js';
import type { ActivityStep } from '../core/plan.js';
import { MAX_OUTPUT_BYTES } from '../core/run-state.js';
import { inputType, outputsType, withoutAbsent } from './written-type.js';

/** A step of the pipeline that a test says something about. */
export interface Target {
  readonly step: ActivityStep;
  readonly signature: StepSignature;
}

/**
 * Outputs with their expressions, `name` being what messages call them; with `readsStart` they may read the start of the
 * step that they are given to. Those that read nothing of the run are checked whole, by the step type's own schema.
 */
export function readOutputs(
  node: SourceNode,
  { step, signature }: Target,
  { name, readsStart }: { readonly name: string; readonly readsStart: boolean },
  { diagnostics, values }: { readonly diagnostics: Diagnostics; readonly values: JsonObject },
): { template: Template; type: Type; value?: JsonObject } | null {
  if (node.kind !== 'map' && !(node.kind === 'scalar' && node.broken === true)) {
    const isExpression = node.kind === 'scalar' && String(node.value).includes('${{');
    if (!isExpression) {
      const names = Object.keys(signature.output.shape);
      diagnostics.add(
        'VALUE_TYPE',
        headOf(node),
        `\`${name}\` is a map from the outputs of ${signature.name} to values`,
        `its outputs are ${listNames(names)}`,
      );
      return null;
    }
  }
  const type = outputsType(step, signature);
  const before = diagnostics.size;
  const scope = valueScope(values, readsStart ? signature : null);
  const { template } = compileTemplate(node, type, { name, scope, diagnostics });
  scope.file.report(diagnostics);
  if (diagnostics.size > before) return null;
  if (readsRun(template)) return { template, type };
  let evaluated: Json;
  try {
    evaluated = evaluateTemplate(template, { values });
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    diagnostics.add('VALUE_TYPE', headOf(node), `this cannot be computed: ${error.message}`);
    return null;
  }
  const problem = findProblem(evaluated, type, signature);
  if ('outputs' in problem) return { template, type, value: problem.outputs };
  for (const { path, message } of problem.issues.slice(0, 20)) {
    const at = path.map(String).join('.');
    diagnostics.add(
      'VALUE_TYPE',
      headOf(nodeAt(node, path)),
      `${signature.name} cannot return this${at === '' ? '' : ` at \`${at}\``}: ${message}`,
      `\`adit steps ${signature.name}\` shows its outputs`,
    );
  }
  return null;
}

interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** The outputs as the boundary of the step would pass them on, or why it would not. */
export function findProblem(
  value: Json,
  type: Type,
  signature: StepSignature,
): { readonly outputs: JsonObject } | { readonly issues: readonly Issue[] } {
  const given = withoutAbsent(value, type);
  const parsed = signature.output.safeParse(given);
  if (!parsed.success) return { issues: parsed.error.issues };
  const outputs = parsed.data as JsonObject;
  const missing = missingDeclared(given, type, signature);
  if (missing.length > 0) return { issues: missing };
  const sizeBytes = jsonSizeBytes(outputs);
  if (sizeBytes <= MAX_OUTPUT_BYTES) return { outputs };
  const message = `it is ${sizeBytes} bytes long; at most ${MAX_OUTPUT_BYTES} may travel`;
  return { issues: [{ path: [], message }] };
}

/** The schema takes any map of values; the step itself insists on those that its author has declared. */
function missingDeclared(value: Json, type: Type, { typedOutput }: StepSignature): Issue[] {
  if (typedOutput === undefined || type.kind !== 'record' || !isJsonObject(value)) return [];
  const declared = type.fields.get(typedOutput)?.type;
  const given = value[typedOutput];
  if (declared?.kind !== 'record' || !isJsonObject(given)) return [];
  return [...declared.fields].flatMap(([name, field]): Issue[] => {
    const member = given[name];
    const fits = member !== undefined && isOf(member, field.type);
    const message = member === undefined ? 'the step declares it' : `it is no ${field.type.kind}`;
    return fits ? [] : [{ path: [typedOutput, name], message }];
  });
}

function isOf(value: Json, { kind }: Type): boolean {
  if (kind === 'int') return Number.isSafeInteger(value);
  if (kind === 'number') return typeof value === 'number';
  if (kind === 'bool') return typeof value === 'boolean';
  return kind !== 'string' || typeof value === 'string';
}

/** The node of a member, or the nearest around it that the author wrote. */
function nodeAt(node: SourceNode, path: readonly PropertyKey[]): SourceNode {
  let at = node;
  for (const part of path) {
    const inner =
      at.kind === 'map'
        ? at.entries.find(({ key }) => key === part)?.value
        : at.kind === 'list' && typeof part === 'number'
          ? at.items[part]
          : undefined;
    if (inner === undefined) return at;
    at = inner;
  }
  return at;
}

const NOTHING: Type = { kind: 'record', label: 'nothing', fields: new Map() };

/** What values in a test file see: `values`, and, where a step is replaced, its `input` and the number of its `start`. */
export function valueScope(values: JsonObject, signature: StepSignature | null): Scope {
  const fields = new Map<string, Field>(
    Object.keys(values).map((name) => [name, { type: ANY, optional: false, summary: '' }]),
  );
  const names = new Map<string, Type>([['values', { kind: 'record', label: 'values', fields }]]);
  if (signature !== null) names.set('input', inputType(signature)).set('start', INT);
  return {
    inputs: NOTHING,
    run: NOTHING,
    names,
    namesOnly: true,
    visible: new Visible(),
    facts: new Facts(),
    file: new FileNames(new Map(), new Set()),
  };
}

function readsRun(template: Template): boolean {
  switch (template.t) {
    case 'value':
      return false;
    case 'expr':
      return readsName(template.expr);
    case 'text':
      return template.parts.some((part) => typeof part !== 'string' && readsName(part));
    case 'list':
      return template.items.some(readsRun);
    case 'map':
      return template.entries.some(([, value]) => readsRun(value));
  }
}

/** A name bound by a macro counts too: then the value is only checked later. */
function readsName(expr: Expr): boolean {
  return /"op":"name","name":"(?:input|start)"/.test(JSON.stringify(expr));
}
