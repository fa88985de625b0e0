import { expect, test } from 'vitest';
import type { RunStatus, StepStatus } from '../core/run-state.js';
import type { RunView } from '../core/run-view.js';
import { openParts, withParts, workflowOf } from './run-parts.js';

function viewOf(status: RunStatus, ...steps: (readonly [string, StepStatus, string?])[]): RunView {
  return {
    runId: 'run-1',
    roundId: 'run-1',
    pipeline: 'test',
    status,
    stage: '',
    outputs: {},
    steps: steps.map(([path, state, uses = 'test.step']) => ({
      path,
      uses,
      status: state,
      attempts: 1,
    })),
  };
}

const PARTS: { readonly [path: string]: RunView } = {
  gate: viewOf(
    'running',
    ['gate/a', 'succeeded'],
    ['gate/inner', 'running', 'pipeline'],
    ['gate/b', 'pending'],
  ),
  'gate/inner': viewOf('running', ['gate/inner/c', 'parked']),
};

const run = viewOf(
  'running',
  ['before', 'succeeded'],
  ['gate', 'running', 'pipeline'],
  // What the part began from, as the run itself still has it.
  ['gate/a', 'succeeded'],
  ['gate/b', 'pending'],
  ['each', 'pending', 'pipeline'],
);

test('a run is shown with the steps of its parts, each at its place', async () => {
  const asked: string[] = [];
  const { steps } = await withParts(run, async ({ path }) => {
    asked.push(path);
    return PARTS[path] ?? null;
  });
  expect(steps.map(({ path }) => path)).toEqual([
    'before',
    'gate',
    'gate/a',
    'gate/inner',
    'gate/inner/c',
    'gate/b',
    'each',
  ]);
  expect(asked).toEqual(['gate', 'gate/inner']);
});

test('without an answer of a part what the run itself knows is shown', async () => {
  const { steps } = await withParts(run, async () => null);
  expect(steps.map(({ path }) => path)).toEqual(['before', 'gate', 'gate/a', 'gate/b', 'each']);
});

test('a step is in the innermost part that is around it', async () => {
  const whole = await withParts(run, async ({ path }) => PARTS[path] ?? null);
  expect(workflowOf(whole, 'run-1', 'gate/inner/c')).toBe('run-1/gate/inner');
  expect(workflowOf(whole, 'run-1', 'gate/a')).toBe('run-1/gate');
  expect(workflowOf(whole, 'run-1', 'gate')).toBe('run-1');
  expect(workflowOf(whole, 'run-1', 'before')).toBe('run-1');
  expect(openParts(whole)).toEqual(['run-1/gate', 'run-1/gate/inner']);
});
