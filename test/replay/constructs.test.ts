/**
 * Every construct of a Plan, and every way to begin a run, is in a recorded history: replay guards no others. The tables
 * have a line for each member of the types, so that a new one does not compile without one.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { innerBlocks } from '../../core/inner-blocks.js';
import type { CalledPipeline, CatchClause, Plan, PlanStep, StepOptions } from '../../core/plan.js';
import type { CarriedOver, RunArgs } from '../../workflows/contract.js';

const folder = fileURLToPath(new URL('histories', import.meta.url));

interface RecordedEvent {
  readonly markerRecordedEventAttributes?: {
    readonly details?: {
      readonly [name: string]: { readonly payloads?: ReadonlyArray<{ readonly data?: string }> };
    };
  };
  readonly workflowExecutionStartedEventAttributes?: {
    readonly input?: { readonly payloads?: ReadonlyArray<{ readonly data?: string }> };
  };
}

interface Recorded {
  readonly name: string;
  readonly args: RunArgs;
  /** Ids of the patches that it was recorded with. */
  readonly patches: readonly string[];
}

function read(name: string): Recorded {
  const content = readFileSync(path.join(folder, name));
  const text = (name.endsWith('.gz') ? gunzipSync(content) : content).toString('utf8');
  const { events } = JSON.parse(text) as { readonly events: readonly RecordedEvent[] };
  const data = events[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data;
  const patches = events.flatMap(({ markerRecordedEventAttributes: marker }) =>
    (marker?.details?.['patch-data']?.payloads ?? []).map(
      (payload) => (fromBase64(payload.data) as { readonly id: string }).id,
    ),
  );
  return { name, args: fromBase64(data) as RunArgs, patches };
}

function fromBase64(data = ''): unknown {
  return JSON.parse(Buffer.from(data, 'base64').toString('utf8'));
}

function everyStep(steps: readonly PlanStep[]): PlanStep[] {
  return steps.flatMap((step) => [
    step,
    ...innerBlocks(step).flatMap((block) => everyStep(block.steps)),
    ...(step.kind === 'pipeline' ? everyStep(step.called.steps) : []),
  ]);
}

/** A history must have the member, not empty; where values are given, each of them. */
type Wanted = 'present' | readonly unknown[];

/** Every member must be named: with what a history must have, or with null where it changes no command. */
type Members<T> = { readonly [M in keyof T]-?: Wanted | null };

const STEP = { id: null, key: null, kind: null, if: 'present' } as const;

const CONSTRUCTS: {
  readonly [K in PlanStep['kind']]: Members<Extract<PlanStep, { readonly kind: K }>>;
} = {
  step: {
    ...STEP,
    uses: 'present',
    with: 'present',
    // A mark for people and for retries; and what an input lacks is no command.
    effect: null,
    optional: null,
    options: 'present',
    host: 'present',
    program: [true],
    summary: null,
  },
  foreach: {
    ...STEP,
    if: null,
    items: 'present',
    as: 'present',
    limit: 'present',
    fail: ['fast', 'wait'],
    collect: 'present',
    steps: 'present',
  },
  repeat: {
    ...STEP,
    if: null,
    limit: 'present',
    everyMs: 'present',
    until: 'present',
    as: 'present',
    collect: 'present',
    steps: 'present',
  },
  parallel: {
    ...STEP,
    if: null,
    limit: 'present',
    fail: ['fast', 'wait'],
    branches: 'present',
  },
  try: {
    ...STEP,
    if: null,
    steps: 'present',
    catch: 'present',
    finally: 'present',
    finallyTimeoutMs: 'present',
  },
  if: { ...STEP, if: null, test: 'present', then: 'present', else: 'present' },
  approve: {
    ...STEP,
    if: null,
    show: 'present',
    fields: 'present',
    expires: 'present',
    quorum: 'present',
    summary: null,
  },
  wait: { ...STEP, if: null, for: 'present', until: 'present' },
  stop: { ...STEP, reason: 'present' },
  // What is looked at before the call is no command.
  pipeline: { ...STEP, if: null, with: 'present', checks: null, called: 'present', summary: null },
};

const OPTIONS: Members<StepOptions> = {
  timeoutMs: 'present',
  attemptTimeoutMs: 'present',
  heartbeatMs: 'present',
  retry: 'present',
  onFailure: ['ask'],
  gpus: 'present',
};

const CATCH: Members<CatchClause> = { errors: 'present', as: 'present', steps: 'present' };

const CALLED: Members<CalledPipeline> = {
  pipeline: null,
  summary: null,
  file: null,
  sourceSha256: null,
  inputs: 'present',
  steps: 'present',
  outputs: 'present',
};

const PLAN: Members<Plan> = {
  irVersion: [1],
  pipeline: null,
  summary: null,
  sourceSha256: null,
  network: null,
  inputs: 'present',
  steps: 'present',
  outputs: 'present',
  // Whoever starts a run makes arguments of these.
  deadlineMs: null,
  notify: null,
};

const BEGINNINGS: Members<RunArgs> = {
  plan: 'present',
  roundId: 'present',
  state: 'present',
  searchAttributes: [true, false],
  until: 'present',
  deadlineMs: 'present',
  endsAtDeadline: [true],
  notify: 'present',
  part: 'present',
  lockId: 'present',
  carried: 'present',
};

const PARTS: Members<NonNullable<RunArgs['part']>> = {
  runId: null,
  path: null,
  frame: 'present',
  cancelled: [true],
};

const CARRIED: Members<CarriedOver> = {
  reset: [true],
  abandoned: [true],
  forced: [true],
  queue: 'present',
};

function missing(
  name: string,
  members: { readonly [member: string]: Wanted | null },
  ones: readonly object[],
): string[] {
  return Object.entries(members).flatMap(([member, wanted]) => {
    const values = ones.map((one) => (one as { readonly [key: string]: unknown })[member]);
    if (wanted === null) return [];
    if (wanted !== 'present') {
      return wanted
        .filter((value) => !values.includes(value))
        .map((value) => `${name}.${member}=${String(value)}`);
    }
    const isThere = (value: unknown): boolean =>
      Array.isArray(value) ? value.length > 0 : value !== undefined;
    return values.some(isThere) ? [] : [`${name}.${member}`];
  });
}

const recorded = readdirSync(folder)
  .filter((name) => /\.json(?:\.gz)?$/.test(name))
  .map(read);
const runs = recorded
  .filter(({ name }) => name.startsWith('run-pipeline.'))
  .map(({ args }) => args);
const steps = runs.flatMap(({ plan }) => everyStep(plan.steps));

const isKind =
  <K extends PlanStep['kind']>(kind: K) =>
  (step: PlanStep): step is Extract<PlanStep, { readonly kind: K }> =>
    step.kind === kind;

test('every construct of a Plan has a recorded history', () => {
  expect(
    Object.entries(CONSTRUCTS).flatMap(([kind, members]) =>
      missing(
        kind,
        members,
        steps.filter((step) => step.kind === kind),
      ),
    ),
  ).toEqual([]);
  expect([
    ...missing(
      'plan',
      PLAN,
      runs.map(({ plan }) => plan),
    ),
    ...missing(
      'step.options',
      OPTIONS,
      steps.filter(isKind('step')).map(({ options }) => options),
    ),
    ...missing(
      'pipeline.called',
      CALLED,
      steps.filter(isKind('pipeline')).map(({ called }) => called),
    ),
    ...missing(
      'try.catch',
      CATCH,
      steps.filter(isKind('try')).flatMap((step) => step.catch ?? []),
    ),
    ...missing(
      'parallel.branches',
      { step: 'present', needs: 'present' },
      steps.filter(isKind('parallel')).flatMap(({ branches }) => branches),
    ),
  ]).toEqual([]);
});

test('every way to begin a run has a recorded history', () => {
  expect([
    ...missing('args', BEGINNINGS, runs),
    ...missing(
      'args.part',
      PARTS,
      runs.flatMap(({ part }) => part ?? []),
    ),
    ...missing(
      'args.carried',
      CARRIED,
      runs.flatMap(({ carried }) => carried ?? []),
    ),
  ]).toEqual([]);
});

test('every change of commands behind `patched` has a history from before it, and one with it', () => {
  const code = fileURLToPath(new URL('../../workflows', import.meta.url));
  const ids = readdirSync(code).flatMap((name) =>
    [...readFileSync(path.join(code, name), 'utf8').matchAll(/patched\('([^']+)'\)/g)].map(
      ([, id]) => id ?? '',
    ),
  );
  expect(ids.length).toBeGreaterThan(4);
  const having = (id: string): number =>
    recorded.filter(({ patches }) => patches.includes(id)).length;
  // A run that was reset asks for it, and a replay does not know that it was one.
  expect(ids.filter((id) => having(id) === 0)).toEqual(['lock-probation']);
  expect(ids.filter((id) => having(id) === recorded.length)).toEqual([]);
});

test('the name of a history says of which version its plan is', () => {
  for (const { name, args } of recorded)
    if (name.startsWith('run-pipeline.'))
      expect(name).toMatch(new RegExp(`^run-pipeline\\.v${args.plan.irVersion}\\.`));
});
