import { expect, test } from 'vitest';
import type { ActivityStep, Plan } from './plan.js';
import type { StepState } from './run-state.js';
import { toRunView } from './run-view.js';

const step = (key: string): ActivityStep => ({
  kind: 'step',
  key,
  uses: 'test.step',
  with: [],
  optional: [],
  host: [],
  options: {
    timeoutMs: 1,
    retry: { attempts: 1, firstMs: 1, factor: 1, mostMs: 1, never: [] },
  },
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
