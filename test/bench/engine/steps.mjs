// The step types of the engine's benchmark; loaded, they join those of the worker.
import { z } from 'zod';
import { STEP_TYPES } from '../../../dist/activities/registry.js';
import { StepError } from '../../../dist/core/error.js';
import { mark, noop, pause } from '../hand-written/engine-activities.mjs';

const value = z.int();
const defaults = { timeout: '1m' };
const input = z.strictObject({ value });

export const BENCH_STEPS = [
  {
    name: 'bench.noop',
    summary: 'Adds one.',
    input,
    output: z.object({ value }),
    defaults,
    errors: [],
    example: 'uses: bench.noop',
    run: noop,
  },
  {
    name: 'bench.mark',
    summary: 'Adds one, and tells when it began.',
    input,
    output: z.object({ value, startedAt: z.string() }),
    defaults,
    errors: [],
    example: 'uses: bench.mark',
    run: mark,
  },
  {
    name: 'bench.pause',
    summary: 'Takes 100 ms, and tells how many ran beside it.',
    input,
    output: z.object({ value, running: z.int() }),
    defaults,
    errors: [],
    example: 'uses: bench.pause',
    run: pause,
  },
  {
    name: 'bench.ask',
    summary: 'Fails once, then does nothing.',
    input,
    output: z.object({ value }),
    defaults,
    errors: ['PROGRAM_FAILED'],
    example: 'uses: bench.ask',
    run: async (given, { call }) => {
      if (call.start === 1) throw new StepError('PROGRAM_FAILED', 'Somebody has to look at it.');
      return given;
    },
  },
];

STEP_TYPES.push(...BENCH_STEPS);
