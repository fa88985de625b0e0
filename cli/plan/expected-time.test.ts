import { describe, expect, test } from 'vitest';
import { planOf } from '../../test/support/fault-plan.js';
import { expectedTime, gpuHours, type PastTimes } from './expected-time.js';
import { previewPlan } from './preview-plan.js';
import type { PlannedStep } from './planned-step.js';

const preview = (steps: string, inputs = ''): PlannedStep[] =>
  previewPlan(planOf(`pipeline: timed\n${inputs}steps:\n${steps}`), {
    taskQueue: 'adit',
    nowMs: 0,
  });

const past = (times: { readonly [key: string]: number }): PastTimes =>
  new Map(Object.entries(times).map(([key, ms]) => [key, { ms, count: 1 }]));

const HOUR = 3_600_000;

describe('the expected time', () => {
  // a -> wait -> three items, two at a time -> (b -> c) beside d
  const steps = preview(`  - { id: a, uses: process.run, with: { command: a } }
  - wait: 5s
  - id: each
    foreach: '[1, 2, 3]'
    as: n
    limit: 2
    steps:
      - { id: one, uses: process.run, with: { command: a } }
  - id: side
    parallel:
      - { id: b, uses: process.run, with: { command: a } }
      - { id: c, needs: [b], uses: process.run, with: { command: a } }
      - { id: d, uses: process.run, with: { command: a } }
  - { id: asks, approve: May it? }
`);

  test('is that of the longest way, with room for so many at one time', () => {
    const known = past({
      'a process.run': 1_000,
      'each#*/one process.run': 10_000,
      'side/b process.run': 100,
      'side/c process.run': 200,
      'side/d process.run': 250,
    });
    expect(expectedTime(steps, known)).toEqual({ ms: 1_000 + 5_000 + 20_000 + 300, neverRan: [] });
  });

  test('names what never ran, also as the step of another type', () => {
    const known = past({ 'a git.clone': 1_000, 'each#*/one process.run': 10_000 });
    expect(expectedTime(steps, known)).toEqual({
      ms: 25_000,
      neverRan: ['a', 'side/b', 'side/c', 'side/d'],
    });
  });

  test('of turns with a least time between them counts the pauses', () => {
    const list = preview(`  - repeat: { limit: 3, every: 1m }
    steps:
      - { id: look, uses: process.run, with: { command: a } }
`);
    expect(expectedTime(list, past({ '[0]#*/look process.run': 1_000 })).ms).toBe(121_000);
  });

  test('of a block that runs nobody knows how often is that which it took as a whole', () => {
    const [settled] = preview(`  - id: settled
    repeat: { limit: 60, until: steps.look.outputs.done }
    steps:
      - { id: look, uses: process.run, with: { command: a, outputs: { done: bool } } }
`);
    const list = settled === undefined ? [] : [settled];
    expect(expectedTime(list, past({ 'settled#*/look process.run': 1_000 }))).toEqual({
      ms: 0,
      neverRan: ['settled'],
    });
    expect(expectedTime(list, past({ 'settled repeat': 7_000 })).ms).toBe(7_000);
  });
});

describe('GPU-hours', () => {
  const steps = preview(`  - id: each
    foreach: '[1, 2, 3]'
    as: n
    limit: 3
    steps:
      - { id: train, uses: process.run, with: { command: a }, timeout: 4h, on: { gpus: 2 } }
`);

  test('count every device of every item, by past times and by the limits', () => {
    expect(gpuHours(steps, past({ 'each#*/train process.run': HOUR }))).toEqual({
      expected: 6,
      atMost: 24,
    });
  });

  test('are not known of a step that never ran', () => {
    expect(gpuHours(steps, past({}))).toEqual({ expected: null, atMost: 24 });
  });
});
