/**
 * A step that calls a pipeline of another file: binds its inputs, lets it run as a part of the run, and takes its end
 * for the step's own.
 *
 * The paths of the called steps begin with the path of the call, so that in the run every step has one path, whichever
 * workflow it is in. What a state knows of them goes along, and the part begins from there.
 */
import { evaluateTemplate } from './evaluate.js';
import { scopeOf, summaryOf, type Frame } from './frame.js';
import type { Json, JsonObject } from './json.js';
import { endOfPart } from './part-end.js';
import { MAX_PLAN_BYTES, type PipelineStep } from './plan.js';
import type { CalledPlan, PartRequest } from './powers.js';
import { MAX_OUTPUT_BYTES, type RunResult } from './run-state.js';
import { assertSize, expression, StepEnd } from './step-end.js';
import { findMisfit, printKind } from './value-kind.js';

/** The outputs of the called pipeline; `runPart` runs it. Throws a StepEnd, or a cancellation. */
export async function runSubPipeline(
  step: PipelineStep,
  path: string,
  frame: Frame,
  runPart: (request: Omit<PartRequest, 'steps' | 'until'>) => Promise<RunResult>,
): Promise<JsonObject> {
  const { called } = step;
  const plan: CalledPlan = {
    pipeline: called.pipeline,
    ...(called.summary === undefined ? {} : { summary: called.summary }),
    sourceSha256: called.sourceSha256,
    inputs: bindInputs(step, path, frame),
    steps: called.steps,
    outputs: called.outputs,
  };
  assertSize(`The plan of ${path}, its inputs included,`, plan, MAX_PLAN_BYTES, path);
  const summary = summaryOf(step.summary, path, frame);
  const result = await runPart({ path, plan, summary });
  if (result.status !== 'succeeded') throw endOfPart(path, result);
  assertSize(`The outputs of ${path}`, result.outputs, MAX_OUTPUT_BYTES, path);
  return result.outputs;
}

/** What is null counts as not given. Values are only looked at where the checker could not know them. */
function bindInputs(step: PipelineStep, path: string, frame: Frame): { [name: string]: Json } {
  const scope = scopeOf(frame);
  const given = new Map<string, Json>();
  for (const [name, template] of step.with) {
    const value = expression(path, `input ${name}`, () => evaluateTemplate(template, scope));
    if (value === null) continue;
    checkKind(step, path, name, value);
    given.set(name, value);
  }
  const bound: { [name: string]: Json } = {};
  for (const { name, default: otherwise } of step.called.inputs) {
    const value = given.get(name) ?? otherwise;
    if (value !== undefined) bound[name] = value;
  }
  return bound;
}

function checkKind(
  { checks, called }: PipelineStep,
  path: string,
  name: string,
  value: Json,
): void {
  const kind = checks !== undefined && Object.hasOwn(checks, name) ? checks[name] : undefined;
  if (kind === undefined) return;
  const place = findMisfit(value, kind);
  if (place === null) return;
  throw new StepEnd(
    {
      code: 'PIPELINE_INPUT_INVALID',
      message: `The input ${name}${place === '' ? '' : `, at ${place},`} of ${path} does not fit: ${called.file} takes ${printKind(kind)}.`,
      hint: 'Look at what the step before it returned.',
      step: path,
    },
    'failed',
  );
}
