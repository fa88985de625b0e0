import { createHash } from 'node:crypto';
import { STEP_TYPES } from '../../activities/registry.js';
import { bindPipeline } from '../../compiler/bind.js';
import { compilePipeline } from '../../compiler/compile.js';
import type { StepSignature } from '../../compiler/step-signature.js';
import type { Json } from '../../core/json.js';
import type { Plan } from '../../core/plan.js';

/** A Plan made as `adit run` makes it; throws with the diagnostics of a text that does not check. */
export function planOf(
  text: string,
  options: {
    readonly coordinator?: string;
    readonly inputs?: { readonly [name: string]: Json };
    readonly stepTypes?: readonly StepSignature[];
  } = {},
): Plan {
  const content = Buffer.from(text);
  const { pipeline, diagnostics, source } = compilePipeline(
    content,
    'fault.yaml',
    options.stepTypes ?? STEP_TYPES,
  );
  if (pipeline === null) throw new Error(JSON.stringify(diagnostics));
  const { plan, diagnostics: problems } = bindPipeline(pipeline, {
    inputs: new Map(
      Object.entries(options.inputs ?? {}).map(([name, value]) => [name, { value }] as const),
    ),
    network: { coordinator: options.coordinator ?? '', hotkey: '' },
    sourceSha256: createHash('sha256').update(content).digest('hex'),
    source,
  });
  if (plan === null) throw new Error(JSON.stringify(problems));
  return plan;
}

export interface ProgramStep {
  readonly id?: string;
  readonly command: string;
  /** Run time. */
  readonly timeout?: string;
  /** Silence of a worker that means its loss; `shipped` leaves the step type's own. */
  readonly heartbeat?: string;
  readonly attempts?: number;
  readonly gpus?: number;
  /** False: it declares none. */
  readonly outputs?: boolean;
}

/** The text of a step that runs a command. */
export function programStep(step: ProgramStep): string {
  const { heartbeat = '2s', outputs = true } = step;
  const lines = [
    `- id: ${step.id ?? 'program'}`,
    '  uses: process.run',
    `  with: { command: ${JSON.stringify(step.command)}${outputs ? ', outputs: { lines: int }' : ''} }`,
    `  timeout: ${step.timeout ?? '5m'}`,
    `  retry: { attempts: ${step.attempts ?? 1}, first: 100ms }`,
  ];
  if (heartbeat !== 'shipped') lines.push(`  heartbeat: ${heartbeat}`);
  if (step.gpus !== undefined) lines.push(`  on: { gpus: ${step.gpus} }`);
  return lines.map((line) => `  ${line}\n`).join('');
}

/** One program step, whose log and outputs are the run's. */
export function programPlan(step: ProgramStep): Plan {
  const id = step.id ?? 'program';
  return planOf(
    `pipeline: fault
summary: One program that is disturbed.
steps:
${programStep(step)}
outputs:
  log: "\${{ steps.${id}.log }}"
${step.outputs === false ? '' : `  lines: "\${{ steps.${id}.outputs.lines }}"`}
`,
  );
}
