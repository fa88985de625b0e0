import { describe, expect, test } from 'vitest';
import { foreachOf, planOf, stepMaker } from '../test/support/plan-makers.js';
import type { Plan } from './plan.js';
import type { StepState } from './run-state.js';
import { toRunView } from './run-view.js';

const step = stepMaker({
  timeoutMs: 1,
  retry: { attempts: 1, firstMs: 1, factor: 1, mostMs: 1, never: [] },
});

/** each(first, then `length` steps) over as many items as `items`, each of which failed at `first`. */
function viewOf(items: number, length: number) {
  const plan: Plan = {
    irVersion: 1,
    pipeline: 'test',
    sourceSha256: '0'.repeat(64),
    network: { coordinator: '', hotkey: '' },
    inputs: {},
    steps: [
      {
        kind: 'foreach',
        key: 'each',
        items: { op: 'lit', value: [] },
        as: 'item',
        limit: 1,
        fail: 'wait',
        steps: [step('first'), ...Array.from({ length }, (_, index) => step(`step${index}`))],
      },
    ],
    outputs: [],
  };
  const failed: StepState = { status: 'failed', uses: 'test.step', attempts: 1 };
  const states = new Map<string, StepState>([['each', { ...failed, uses: 'foreach' }]]);
  for (let index = 0; index < items; index += 1) {
    states.set(`each#${index}`, { ...failed, uses: 'item' });
    states.set(`each#${index}/first`, failed);
  }
  return toRunView(plan, states, { runId: 'r', roundId: 'r' }, { status: 'failed', outputs: {} });
}

test('lists the steps of an item that were not reached', () => {
  expect(viewOf(1, 2).steps.map(({ path, status }) => `${path} ${status}`)).toEqual([
    'each failed',
    'each#0 failed',
    'each#0/first failed',
    'each#0/step0 pending',
    'each#0/step1 pending',
  ]);
});

test('a long list over a long block fits into one payload, every step that was reached in it', () => {
  const { steps } = viewOf(500, 200);
  expect(steps.filter(({ path }) => path.endsWith('/first'))).toHaveLength(500);
  expect(steps.filter(({ status }) => status === 'pending')).toHaveLength(1_000);
  expect(JSON.stringify(steps).length).toBeLessThan(300_000);
});

describe('a step that is parked', () => {
  const error = { code: 'EFFECT_UNKNOWN', message: 'Nobody knows.' };
  const parked = (key: string): StepState => ({
    status: 'parked',
    uses: 'test.step',
    attempts: 2,
    uncounted: 1,
    restarts: 1,
    movedMs: 5,
    parkedAt: '2026-01-01T00:00:00.000Z',
    error: { ...error, step: key },
    note: 'asks until then',
  });

  test('is shown with its error, what it waits for and the command that decides', () => {
    const view = toRunView(
      planOf(step('a'), step('[1]')),
      new Map([
        ['a', parked('a')],
        ['[1]', parked('[1]')],
      ]),
      { runId: 'run-1', roundId: 'run-1' },
      { status: 'running', outputs: {} },
    );
    expect(view.stage).toBe('a');
    expect(view.steps).toEqual([
      {
        path: 'a',
        uses: 'test.step',
        status: 'parked',
        attempts: 2,
        error: { ...error, step: 'a' },
        note: 'asks until then',
        decide: 'decide run-1 a --retry',
      },
      expect.objectContaining({ decide: "decide run-1 '[1]' --retry" }),
    ]);
  });
});

test('items are shown also where a run that goes on knows more of the later ones', () => {
  const done: StepState = { status: 'succeeded', uses: 'item', attempts: 0 };
  const view = toRunView(
    planOf(foreachOf(['x', 'y', 'z'], [step('work')])),
    new Map([
      ['each#0/work', done],
      ['each#2', done],
    ]),
    { runId: 'run-1', roundId: 'run-1' },
    { status: 'running', outputs: {} },
  );
  expect(view.steps.map(({ path, status }) => `${path} ${status}`)).toEqual([
    'each pending',
    'each#0 pending',
    'each#0/work succeeded',
    'each#1 pending',
    'each#1/work pending',
    // What a long run no longer knows of an item that has succeeded is not pending.
    'each#2 succeeded',
  ]);
});
