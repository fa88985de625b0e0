import { describe, expect, test } from 'vitest';
import { STEP_TYPES } from '../../activities/registry.js';
import { bindPipeline } from '../../compiler/bind.js';
import { compilePipeline } from '../../compiler/compile.js';
import type { PipelineFiles } from '../../compiler/pipeline-files.js';
import { findStepPath } from '../../core/plan-paths.js';
import { toRetryState } from '../../core/retry-state.js';
import type { Json } from '../../core/json.js';
import type { Plan } from '../../core/plan.js';
import type { RunState } from '../../core/run-state.js';
import { fail, ok, run } from '../../test/support/interpreter-world.js';
import { everyStep, isToRun, type PlannedStep } from './planned-step.js';
import { previewPlan } from './preview-plan.js';

/** Two of three items at a time, a branch that is not taken, a `finally`, branches that need another. */
const WHOLE = `pipeline: whole
inputs:
  names: { type: 'list<string>' }
  quick: { type: bool, default: true }
steps:
  - { id: first, uses: process.run, with: { command: '\${{ inputs.names[0] }}', outputs: { n: int } } }
  - if: inputs.quick
    then:
      - { id: fast, uses: process.run, with: { command: fast } }
    else:
      - { id: slow, uses: process.run, with: { command: slow } }
  - { id: never, if: '!inputs.quick', uses: process.run, with: { command: never } }
  - id: each
    foreach: inputs.names
    as: name
    limit: 2
    collect: steps.made.outputs.n
    steps:
      - { id: made, uses: process.run, with: { command: '\${{ name }}', outputs: { n: int } } }
      - { id: told, uses: process.run, with: { command: 'n is \${{ string(steps.made.outputs.n) }} for \${{ name }}' } }
  - id: side
    parallel:
      - { id: left, uses: process.run, with: { command: left, outputs: { n: int } } }
      - { id: right, needs: [left], uses: process.run, with: { command: '\${{ string(steps.left.outputs.n) }}' } }
      - { id: alone, uses: process.run, with: { command: alone } }
  - id: guarded
    try:
      - { id: risky, uses: process.run, with: { command: risky } }
    finally:
      - { id: tidy, uses: process.run, with: { command: tidy } }
  - { id: call, pipeline: ./inner.yaml, with: { word: '\${{ inputs.names[0] }}', late: '\${{ steps.first.outputs.n }}' } }
  - { id: last, uses: process.run, with: { command: '\${{ string(steps.first.outputs.n) }}' } }
`;

/** What `whole` calls. */
const INNER = `pipeline: inner
inputs:
  word: { type: string }
  other: { type: string, default: plain }
  late: { type: int }
steps:
  - { id: said, uses: process.run, with: { command: '\${{ inputs.word }} \${{ inputs.other }} \${{ string(inputs.late) }}' } }
outputs:
  length: \${{ size(inputs.word) }}
`;

function planOf(text: string, inputs: { readonly [name: string]: Json } = {}): Plan {
  const files: PipelineFiles = {
    identify: (file) => file,
    read: (name) => ({
      identity: name,
      file: name,
      content: new TextEncoder().encode(INNER),
      sha256: '1'.repeat(64),
    }),
  };
  const { pipeline, diagnostics, source } = compilePipeline(text, 'one.yaml', STEP_TYPES, files);
  if (pipeline === null) throw new Error(JSON.stringify(diagnostics, null, 1));
  const given = Object.entries(inputs).map(([name, value]) => [name, { value }] as const);
  const bound = bindPipeline(pipeline, {
    inputs: new Map(given),
    network: { coordinator: '', hotkey: '' },
    sourceSha256: '0'.repeat(64),
    source,
  });
  if (bound.plan === null) throw new Error(JSON.stringify(bound.diagnostics));
  return bound.plan;
}

const preview = (plan: Plan, more: object = {}): PlannedStep[] =>
  everyStep(previewPlan(plan, { taskQueue: 'adit', nowMs: 0, ...more }));

const starting = (steps: readonly PlannedStep[]): string[] =>
  steps.filter((step) => isToRun(step) && step.uses.includes('.')).map(({ path }) => path);

function tell(steps: readonly PlannedStep[], path: string): PlannedStep {
  const found = steps.find((step) => step.path === path);
  if (found === undefined) throw new Error(`${path} is not told.`);
  return found;
}

const gives = () => ok({ outputs: { n: 1 } });

describe('a new run', () => {
  test('starts the steps that are told to run, and no other', async () => {
    const plan = planOf(WHOLE, { names: ['a', 'b', 'c'] });
    const { paths, result } = await run(plan, gives);
    expect(result).toMatchObject({ status: 'succeeded' });
    expect(starting(preview(plan)).toSorted()).toEqual(paths.toSorted());
  });

  test('has its values filled in as far as they are known, items included', () => {
    const steps = preview(planOf(WHOLE, { names: ['a', 'b'] }));
    expect(tell(steps, 'first').with['command']).toEqual({ known: true, value: 'a' });
    expect(tell(steps, 'each#1/told').with['command']).toEqual({
      known: false,
      text: 'n is ${{ string(steps.made.outputs.n) }} for b',
    });
    expect(tell(steps, 'call/said').with['command']).toEqual({
      known: false,
      text: 'a plain ${{ string(inputs.late) }}',
    });
    expect(tell(steps, '[1]/else/slow')).toMatchObject({ will: 'skipped' });
    expect(tell(steps, 'side/right').needs).toEqual(['side/left']);
  });

  test('ends at a stop that is certain; `finally` runs, what comes after does not', () => {
    const plan = planOf(
      `pipeline: stops
inputs: { go: { type: bool } }
steps:
  - id: block
    try:
      - if: '!inputs.go'
        stop: { reason: 'go is \${{ string(inputs.go) }}' }
      - { id: work, uses: process.run, with: { command: a } }
    catch:
      - steps:
          - { id: mend, uses: process.run, with: { command: a } }
    finally:
      - { id: tidy, uses: process.run, with: { command: "\${{ has(steps.work.log) ? 'done' : 'nothing' }}" } }
  - { id: after, uses: process.run, with: { command: a } }
`,
      { go: false },
    );
    const steps = preview(plan);
    expect(tell(steps, 'block/work')).toMatchObject({
      will: 'not_reached',
      reason: { code: 'run_ended', message: 'the run ends as stopped at block/[0]: go is false' },
    });
    expect(tell(steps, 'block/catch/0/mend').will).toBe('not_reached');
    expect(tell(steps, 'block/finally/tidy')).toMatchObject({
      will: 'runs',
      with: { command: { known: true, value: 'nothing' } },
    });
    expect(tell(steps, 'after').will).toBe('not_reached');
  });

  test('tells the `catch` of what runs before a certain stop', () => {
    const plan = planOf(
      `pipeline: caught
inputs: { go: { type: bool } }
steps:
  - try:
      - { id: work, uses: process.run, with: { command: a } }
      - { if: '!inputs.go', stop: { reason: no } }
    catch:
      - steps:
          - { id: mend, uses: process.run, with: { command: a } }
  - { id: after, uses: process.run, with: { command: a } }
`,
      { go: false },
    );
    const steps = preview(plan);
    expect(tell(steps, '[0]/catch/0/mend')).toMatchObject({
      will: 'may_run',
      reason: { code: 'on_failure' },
    });
    expect(tell(steps, 'after').will).toBe('not_reached');
  });

  test('ends at a stop of the first iteration, not at one of a list without items', () => {
    const plan = planOf(
      `pipeline: loops
inputs: { names: { type: 'list<string>' }, go: { type: bool } }
steps:
  - foreach: inputs.names
    steps:
      - { if: '!inputs.go', stop: { reason: no } }
  - { id: between, uses: process.run, with: { command: a } }
  - repeat: { limit: 3 }
    steps:
      - { if: '!inputs.go', stop: { reason: no } }
  - { id: after, uses: process.run, with: { command: a } }
`,
      { names: [], go: false },
    );
    const steps = preview(plan);
    expect(tell(steps, 'between').will).toBe('runs');
    expect(tell(steps, 'after').will).toBe('not_reached');
  });

  test('ends behind the step of `until`', () => {
    const steps = preview(planOf(WHOLE, { names: ['a'] }), { until: 'each#0/made' });
    expect(tell(steps, 'each#0/made').will).toBe('runs');
    expect(tell(steps, 'each#0/told').will).toBe('not_reached');
    expect(tell(steps, 'last').will).toBe('not_reached');
  });

  test('ends behind a list that is told once for all where `until` is in one of its items', () => {
    const names = Array.from({ length: 30 }, (_, index) => `n${index}`);
    const steps = preview(planOf(WHOLE, { names }), { until: 'each#7/made' });
    expect(tell(steps, 'each#*/made').will).toBe('runs');
    expect(tell(steps, 'side').will).toBe('not_reached');
  });

  test('tells what a condition that is not known yet decides, and what fails for certain', () => {
    const steps = preview(
      planOf(
        `pipeline: unknown
inputs: { at: { type: int }, of: { type: 'list<string>' } }
steps:
  - { id: ask, uses: process.run, with: { command: a, outputs: { ok: bool } } }
  - { id: maybe, if: steps.ask.outputs.ok, uses: process.run, with: { command: a } }
  - { id: not, if: inputs.at > 0 && steps.ask.outputs.ok, uses: process.run, with: { command: a } }
  - { id: breaks, uses: process.run, with: { command: '\${{ inputs.of[inputs.at] }}' } }
`,
        { at: 0, of: [] },
      ),
    );
    expect(tell(steps, 'maybe')).toMatchObject({
      will: 'may_run',
      condition: 'steps.ask.outputs.ok',
    });
    expect(tell(steps, 'not').will).toBe('skipped');
    expect(tell(steps, 'breaks')).toMatchObject({ reason: { code: 'expression_failed' } });
  });

  test('tells many items once for all', () => {
    const names = Array.from({ length: 3_000 }, (_, index) => `n${index}`);
    const steps = preview(planOf(WHOLE, { names }));
    expect(tell(steps, 'each#*')).toMatchObject({ times: 3_000 });
    expect(tell(steps, 'each#*/made').with['command']).toEqual({
      known: false,
      text: '${{ name }}',
    });
    expect(steps.length).toBeLessThan(40);
  });
});

describe('a retry', () => {
  const plan = planOf(WHOLE, { names: ['a', 'b', 'c'] });

  async function failedAt(nth: number): Promise<RunState> {
    let started = 0;
    const { state } = await run(plan, () => (started++ === nth ? fail('DISK_FULL') : gives()));
    return state;
  }

  const retryOf = (before: RunState, from?: string) => ({
    before,
    after: toRetryState(plan, before, from),
    target: from === undefined ? null : findStepPath(plan, from),
    isExact: true,
    roundId: 'round',
  });

  test('starts the steps that are told to run, wherever the run failed', async () => {
    const { paths: all } = await run(plan, gives);
    for (let nth = 0; nth < all.length; nth += 1) {
      const retry = retryOf(await failedAt(nth));
      const steps = preview(plan, { retry });
      const { paths } = await run(plan, gives, { initial: retry.after });
      expect(starting(steps).toSorted(), `failed at ${nth}`).toEqual(paths.toSorted());
      const kept = steps.filter(({ will }) => will === 'reused').map(({ path }) => path);
      for (const path of kept) expect(paths).not.toContain(path);
      // Every step that runs says why.
      const silent = steps.filter(
        (step) => isToRun(step) && step.uses.includes('.') && step.reason === null,
      );
      expect(
        silent.map(({ path }) => path),
        `failed at ${nth}`,
      ).toEqual([]);
    }
  });

  test('says why each step runs', async () => {
    const { paths } = await run(plan, gives);
    const steps = preview(plan, { retry: retryOf(await failedAt(paths.indexOf('side/left'))) });
    const codes = ['first', 'each', 'side/left', 'side/right', 'last'].map(
      (path) => `${path} ${tell(steps, path).reason?.code}`,
    );
    expect(codes).toEqual([
      'first kept',
      'each kept',
      'side/left failed',
      'side/right never_ran',
      'last never_ran',
    ]);
  });

  test('by --from says what was asked for, what reads it, and what comes after', async () => {
    const { state } = await run(plan, gives);
    const steps = preview(plan, { retry: retryOf(state, 'first') });
    const codes = ['first', '[1]/then/fast', 'last'].map((path) => tell(steps, path).reason?.code);
    expect(codes).toEqual(['requested', 'follows', 'input_changed']);
  });
});
