/** `FILE.rehearse.yaml`: what a pipeline is rehearsed with on the local network. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parse as parseYaml, stringify } from 'yaml';
import { z } from 'zod';
import type { CheckedPipeline } from '../../compiler/check.js';
import { printType } from '../../compiler/types.js';
import { parseDuration } from '../../core/duration.js';
import { isJsonObject, type Json, type JsonObject } from '../../core/json.js';
import type { Plan } from '../../core/plan.js';
import { findStepPath } from '../../core/plan-paths.js';
import type { RunState } from '../../core/run-state.js';
import { demoInputs, DEMO_TASKS } from '../demo-inputs.js';
import { CliFailure, EXIT } from '../failure.js';
import type { GivenInputs } from '../load-plan.js';
import { stepsOf } from '../run-terms.js';
import { clean } from '../output.js';

const DEFAULT_LIMIT_MS = 180_000;

const json: z.ZodType<Json> = z.json();

const schema = z.strictObject({
  inputs: z.record(z.string(), json).default({}),
  steps: z.record(z.string(), z.record(z.string(), json)).default({}),
  limit: z.string().optional(),
});

export interface RehearsalFile {
  readonly file: string;
  readonly inputs: JsonObject;
  /** Outputs of the steps that are not played, by the names of the steps. */
  readonly steps: { readonly [name: string]: JsonObject };
  /** Longest time for one run, in milliseconds. */
  readonly limitMs: number;
}

/** Its name for a pipeline file. */
export function rehearsalFileOf(pipelineFile: string): string {
  return `${pipelineFile.replace(/\.ya?ml$/, '')}.rehearse.yaml`;
}

export function isRehearsalFile(file: string): boolean {
  return /\.rehearse\.ya?ml$/.test(file);
}

/** Null where there is none. Throws CliFailure REHEARSAL_INVALID (exit code 2). */
export function readRehearsalFile(file: string): RehearsalFile | null {
  if (!existsSync(file)) return null;
  let content: unknown;
  try {
    content = parseYaml(readFileSync(file, 'utf8'), { version: '1.2', schema: 'core' }) ?? {};
  } catch (error) {
    throw invalid(file, (error as Error).message.split('\n', 1)[0] ?? '');
  }
  const read = schema.safeParse(content);
  if (!read.success) {
    const issue = read.error.issues[0];
    throw invalid(file, `${issue?.path.join('.') || 'it'}: ${issue?.message ?? 'cannot be read'}`);
  }
  const { inputs, steps, limit } = read.data;
  const limitMs = limit === undefined ? DEFAULT_LIMIT_MS : parseDuration(limit);
  if (limitMs === null || limitMs <= 0)
    throw invalid(file, `limit: \`${limit}\` is no duration; for example 3m`);
  return { file, inputs, steps, limitMs };
}

/** The address of the coordinator that a run has: each has a local network of its own. */
const COORDINATOR = '${coordinator}';

/** The inputs for a run on a network. */
export function inputsFor({ inputs }: RehearsalFile, coordinator: string): GivenInputs {
  return new Map(
    Object.entries(inputs).map(([name, value]) => [
      name,
      { value: withAddress(value, coordinator) },
    ]),
  );
}

function withAddress(value: Json, coordinator: string): Json {
  if (typeof value === 'string') return value.replaceAll(COORDINATOR, coordinator);
  if (Array.isArray(value)) return value.map((one) => withAddress(one, coordinator));
  if (!isJsonObject(value)) return value;
  const members = Object.entries(value).map(([key, one]) => [key, withAddress(one, coordinator)]);
  return Object.fromEntries(members) as JsonObject;
}

/** The state with which a run begins where steps are not played; null where all are. */
export function standInState({ file, steps }: RehearsalFile, plan: Plan): RunState | null {
  const all = new Map(stepsOf(plan.steps, '').map(({ path, step }) => [path, step]));
  const states = Object.entries(steps).map(([name, outputs]) => {
    const path = findStepPath(plan, name);
    const step = path === null ? undefined : all.get(path);
    if (path === null || step === undefined)
      throw invalid(file, `steps: the pipeline has no step \`${name}\` outside of lists`);
    const uses = step.kind === 'step' ? step.uses : step.kind;
    return [path, { status: 'succeeded', uses, attempts: 1, outputs }] as const;
  });
  return states.length === 0 ? null : { steps: Object.fromEntries(states) };
}

/** Writes one that fits the shipped task, for its author to go on with. */
export function writeSkeleton(file: string, pipeline: CheckedPipeline): void {
  const [task] = DEMO_TASKS;
  const known = demoInputs(task);
  const inputs = pipeline.inputs.map(({ name, type, required }) => {
    const value = known[name];
    if (value !== undefined) {
      const text = name === 'train' ? String(value).replace('default', 'fast') : value;
      return stringify({ [name]: text }, { lineWidth: 0 });
    }
    return required
      ? `${name}:   # ${printType(type)}: write one\n`
      : `# ${name}: ${printType(type)}, has a default\n`;
  });
  const text = `# What \`adit rehearse\` plays this pipeline with, on the local network: never a real task, key or network.
# docs/rehearse.md tells more.

inputs:
${indent(inputs.join(''))}
# Steps that cannot be played here (people, waits, networks of others): what they give instead.
# steps:
#   approval: { outputs… }

# Longest time for one run.
limit: 3m
`;
  writeFileSync(file, text, { flag: 'wx' });
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}

function invalid(file: string, message: string): CliFailure {
  return new CliFailure('REHEARSAL_INVALID', `${clean(file)}: ${clean(message)}`, {
    hint: 'docs/rehearse.md tells what it may hold.',
    exitCode: EXIT.usage,
  });
}
