/** Every construct of a Plan, and every way to begin a run, is in a recorded history: replay guards no others. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { innerBlocks } from '../../core/inner-blocks.js';
import type { PlanStep } from '../../core/plan.js';
import type { RunArgs } from '../../workflows/contract.js';

const folder = fileURLToPath(new URL('histories', import.meta.url));

interface Started {
  readonly workflowExecutionStartedEventAttributes?: {
    readonly input?: { readonly payloads?: ReadonlyArray<{ readonly data?: string }> };
  };
}

function argsOf(name: string): RunArgs {
  const content = readFileSync(path.join(folder, name));
  const text = (name.endsWith('.gz') ? gunzipSync(content) : content).toString('utf8');
  const { events } = JSON.parse(text) as { readonly events: readonly Started[] };
  const data = events[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data;
  return JSON.parse(Buffer.from(data ?? '', 'base64').toString('utf8')) as RunArgs;
}

function everyStep(steps: readonly PlanStep[]): PlanStep[] {
  return steps.flatMap((step) => [
    step,
    ...innerBlocks(step).flatMap((block) => everyStep(block.steps)),
    ...(step.kind === 'pipeline' ? everyStep(step.called.steps) : []),
  ]);
}

/** By kind, what a step of it may have that changes what the workflow asks of the server. */
const CONSTRUCTS = {
  step: ['if', 'program', 'host', 'options.onFailure', 'options.heartbeatMs'],
  foreach: ['collect', 'fail=fast', 'fail=wait'],
  repeat: ['until', 'everyMs', 'collect', 'as'],
  parallel: ['fail=fast', 'fail=wait', 'branches.needs'],
  try: ['catch', 'finally', 'finallyTimeoutMs'],
  if: ['then', 'else'],
  approve: ['show', 'fields', 'expires', 'quorum'],
  wait: ['for', 'until'],
  stop: ['if'],
  pipeline: ['with'],
} as const satisfies { readonly [K in PlanStep['kind']]: readonly string[] };

const BEGINNINGS = [
  'state',
  'until',
  'deadlineMs',
  'endsAtDeadline',
  'notify',
  'lockId',
  'part',
  'part.frame',
  'carried',
] as const;

function memberOf(of: object, dotted: string): unknown {
  let value: unknown = of;
  for (const key of dotted.split('.')) {
    if (Array.isArray(value)) value = value.map((one: object) => memberOf(one, key));
    else value = (value as { readonly [key: string]: unknown } | undefined)?.[key];
  }
  return value;
}

function has(of: object, member: string): boolean {
  const [name = '', wanted] = member.split('=');
  const value = memberOf(of, name);
  if (wanted !== undefined) return value === wanted;
  return Array.isArray(value) ? value.flat().length > 0 : value !== undefined;
}

const recorded = readdirSync(folder)
  .filter((name) => /\.json(?:\.gz)?$/.test(name))
  .map(argsOf);
const steps = recorded.flatMap(({ plan }) => everyStep(plan.steps));

test('every construct of a Plan has a recorded history', () => {
  const missing = Object.entries(CONSTRUCTS).flatMap(([kind, members]) => {
    const ofKind = steps.filter((step) => step.kind === kind);
    return [
      ...(ofKind.length === 0 ? [kind] : []),
      ...members
        .filter((member) => !ofKind.some((step) => has(step, member)))
        .map((member) => `${kind}.${member}`),
    ];
  });
  expect(missing).toEqual([]);
});

test('every way to begin a run has a recorded history', () => {
  expect(BEGINNINGS.filter((name) => !recorded.some((args) => has(args, name)))).toEqual([]);
});
