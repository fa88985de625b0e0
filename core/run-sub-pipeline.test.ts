/** A step that calls a pipeline, run in place and as a part with a state of its own: what a reader sees is the same. */
import { describe, expect, test } from 'vitest';
import type { Expr } from './expression.js';
import type { PlanStep } from './plan.js';
import type { StepOutcome, StepRequest } from './powers.js';
import { toRetryState } from './retry-state.js';
import type { RunState } from './run-state.js';
import { fail, ok, run } from '../test/support/interpreter-world.js';
import {
  callOf,
  expr,
  foreachOf,
  input,
  lit,
  output,
  planOf,
  stepMaker,
} from '../test/support/plan-makers.js';

const step = stepMaker({
  timeoutMs: 86_400_000,
  retry: { attempts: 1, firstMs: 1_000, factor: 2, mostMs: 10_000, never: [] },
});

const giving = ({ path }: StepRequest): StepOutcome => ok({ value: path });

const endingsOf = ({ steps }: RunState): unknown =>
  Object.fromEntries(Object.entries(steps).map(([path, { status }]) => [path, status]));

const member = (name: string, key: string): Expr => ({
  op: 'member',
  of: { op: 'name', name },
  key,
});

describe.each([
  ['in place', false],
  ['as a part of its own', true],
])('a called pipeline, %s,', (_name, parts) => {
  test('sees its inputs and the run, and gives its outputs', async () => {
    const plan = planOf(
      step('look'),
      callOf(
        'gate',
        [
          step('look', {
            with: [
              ['word', expr(input('word'))],
              ['times', expr(input('times'))],
              ['run', expr(member('run', 'id'))],
              ['pipeline', expr(member('run', 'pipeline'))],
            ],
          }),
        ],
        {
          inputs: [{ name: 'word' }, { name: 'times', default: 3 }, { name: 'label' }],
          outputs: [['seen', expr(output('look', 'value'))]],
        },
        {
          with: [
            ['word', expr(output('look', 'value'))],
            ['times', { t: 'value', value: null }],
          ],
        },
      ),
      step('after', { with: [['seen', expr(output('gate', 'seen'))]] }),
    );
    const world = await run(plan, giving, { parts });
    expect(world.requests.map(({ path, input: given }) => [path, given])).toEqual([
      ['look', {}],
      ['gate/look', { word: 'look', times: 3, run: 'run-1', pipeline: 'gate-file' }],
      ['after', { seen: 'gate/look' }],
    ]);
    expect(world.result).toEqual({ status: 'succeeded', outputs: {} });
  });

  test('sees nothing of its caller', async () => {
    const reads = step('reads', { with: [['x', expr(output('outside', 'value'))]] });
    const plan = planOf(step('outside'), callOf('gate', [reads]));
    const world = await run(plan, giving, { parts });
    expect(world.result).toMatchObject({
      status: 'failed',
      error: { code: 'EXPRESSION_FAILED', step: 'gate/reads' },
    });
  });

  test('that fails is a failure of the step, with the path of the step inside', async () => {
    const caught: PlanStep = {
      kind: 'try',
      key: 'guard',
      steps: [callOf('outer', [callOf('inner', [step('breaks')]), step('never')])],
      catch: [
        {
          errors: ['DISK_FULL'],
          as: 'error',
          steps: [step('instead', { with: [['at', expr(member('error', 'step'))]] })],
        },
      ],
      finally: [],
    };
    const world = await run(
      planOf(caught),
      (request) => (request.path.endsWith('breaks') ? fail('DISK_FULL', true) : giving(request)),
      { parts },
    );
    expect(world.result).toMatchObject({ status: 'succeeded' });
    expect(world.requests.map(({ path, input: given }) => [path, given])).toEqual([
      ['guard/outer/inner/breaks', {}],
      ['guard/catch/0/instead', { at: 'guard/outer/inner/breaks' }],
    ]);
    expect(world.state.steps['guard/outer']).toMatchObject({
      status: 'failed',
      error: { code: 'DISK_FULL', step: 'guard/outer/inner/breaks' },
    });
  });

  test('that stops ends the run as stopped, and no catch takes it', async () => {
    const plan = planOf({
      kind: 'try',
      key: 'guard',
      steps: [callOf('gate', [{ kind: 'stop', key: 'halt', reason: lit('no need') }])],
      catch: [{ as: 'error', steps: [step('caught')] }],
      finally: [step('tidy')],
    });
    const world = await run(plan, giving, { parts });
    expect(world.result).toMatchObject({
      status: 'stopped',
      error: { code: 'STOPPED', message: 'no need', step: 'guard/gate/halt' },
    });
    expect(world.paths).toEqual(['guard/finally/tidy']);
  });

  test('runs its finally when the run is cancelled', async () => {
    const plan = planOf(
      callOf('gate', [
        { kind: 'try', key: 'guard', steps: [step('holds')], finally: [step('gives-back')] },
      ]),
      step('never'),
    );
    const world = await run(
      plan,
      (request, one) => {
        if (request.path.endsWith('holds')) one.cancel();
        return giving(request);
      },
      { parts },
    );
    expect(world.result).toBe('cancelled');
    expect(world.paths).toEqual(['gate/guard/holds', 'gate/guard/finally/gives-back']);
    expect(world.state.steps['gate']?.status).toBe('cancelled');
  });

  test('ends the run behind a step inside that it is to reach', async () => {
    const plan = planOf(callOf('gate', [step('one'), step('two')]), step('after'));
    for (const until of ['one', 'gate/one']) {
      const world = await run(plan, giving, { parts, until });
      expect(world.paths).toEqual(['gate/one']);
      expect(world.result).toMatchObject({ status: 'stopped', error: { code: 'UNTIL_REACHED' } });
    }
  });

  test('refuses a value that only the run can know, and more than may travel', async () => {
    const gate = callOf(
      'gate',
      [step('look')],
      {
        inputs: [{ name: 'words' }, { name: 'long', default: 'y'.repeat(500_000) }],
        outputs: [['all', expr(output('look', 'value'))]],
      },
      {
        with: [['words', expr(output('first', 'value'))]],
        checks: { words: { list: 'string' } },
      },
    );
    const of = async (value: never): Promise<unknown> => {
      const world = await run(
        planOf(step('first'), gate),
        ({ path }) => ok({ value: path === 'first' ? value : 'x'.repeat(70_000) }),
        { parts },
      );
      return world.result;
    };
    expect(await of(['a', 3] as never)).toMatchObject({
      error: {
        code: 'PIPELINE_INPUT_INVALID',
        message: 'The input words, at [1], of gate does not fit: ./gate.yaml takes list<string>.',
        step: 'gate',
      },
    });
    expect(await of(['a'] as never)).toMatchObject({ error: { code: 'STATE_TOO_LARGE' } });
    expect(await of(['a'.repeat(60_000)] as never)).toMatchObject({
      error: { code: 'STATE_TOO_LARGE', step: 'gate' },
    });
  });

  test('ends as the uninterrupted run, from the state after every event', async () => {
    const inner = callOf(
      'inner',
      [
        {
          kind: 'try',
          key: 'guard',
          steps: [step('act'), step('breaks')],
          catch: [{ errors: ['DISK_FULL'], as: 'error', steps: [step('instead')] }],
          finally: [step('tidy')],
        },
      ],
      { outputs: [['word', expr(input('word'))]], inputs: [{ name: 'word' }] },
      { with: [['word', expr(input('word'))]] },
    );
    const outer = callOf(
      'outer',
      [step('first'), inner, step('last')],
      { inputs: [{ name: 'word' }], outputs: [['word', expr(output('inner', 'word'))]] },
      { with: [['word', expr({ op: 'name', name: 'item' })]] },
    );
    const plan = planOf(
      foreachOf(['a', 'b'], [outer], { collect: output('outer', 'word'), limit: 2 }),
      step('after', { with: [['words', expr(output('each', 'results'))]] }),
    );
    const answer = (request: StepRequest): StepOutcome =>
      request.path.endsWith('breaks') ? fail('DISK_FULL') : giving(request);
    const whole = await run(plan, answer, { parts });
    expect(whole.result).toMatchObject({ status: 'succeeded' });
    expect(whole.requests.at(-1)?.input).toEqual({ words: ['a', 'b'] });
    const inputs = new Map(whole.requests.map((one) => [one.path, JSON.stringify(one.input)]));
    for (const state of whole.states) {
      const resumed = await run(plan, answer, { initial: state, parts });
      expect(resumed.result).toEqual(whole.result);
      for (const { path, input: given } of resumed.requests)
        expect(JSON.stringify(given)).toBe(inputs.get(path));
      for (const path of resumed.paths)
        expect(['succeeded', 'failed']).not.toContain(state.steps[path]?.status);
      const last = resumed.states.at(-1) ?? state;
      if (!parts) expect(endingsOf(last)).toEqual(endingsOf(whole.state));
      else expect(last.steps['after']?.status).toBe('succeeded');
    }
  });

  test('is retried behind what it had done, and anew from a step inside', async () => {
    const gate = callOf('gate', [step('one'), step('two'), step('three')], {
      outputs: [['two', expr(output('two', 'value'))]],
    });
    const plan = planOf(step('first'), gate, step('after'));
    const failing = (at: string) => (request: StepRequest) =>
      request.path === at ? fail('DISK_FULL') : giving(request);
    const inside = await run(plan, failing('gate/two'), { parts });
    const again = await run(plan, giving, {
      parts,
      initial: toRetryState(plan, inside.state),
    });
    expect(again.paths).toEqual(['gate/two', 'gate/three', 'after']);
    const behind = await run(plan, failing('after'), { parts });
    const kept = toRetryState(plan, behind.state);
    expect((await run(plan, giving, { parts, initial: kept })).paths).toEqual(['after']);
    const from = toRetryState(
      plan,
      behind.state,
      'gate/two',
      Object.fromEntries(['first', 'gate/one'].map((path) => [path, { value: path }])),
    );
    expect((await run(plan, giving, { parts, initial: from })).paths).toEqual([
      'gate/two',
      'gate/three',
      'after',
    ]);
  });
});

test('an id means a step of the file itself before one of a file that it calls', async () => {
  const plan = planOf(callOf('gate', [step('look')]), step('look'), step('never'));
  expect((await run(plan, giving, { until: 'look' })).paths).toEqual(['gate/look', 'look']);
});
