import { expect, test } from 'vitest';
import { z } from 'zod';
import { compilePipeline } from './compile.js';
import type { StepSignature } from './step-signature.js';

const patient: StepSignature = {
  name: 'test.step',
  summary: 'Does something.',
  input: z.object({}),
  output: z.object({}),
  defaults: { timeout: '1h', attemptTimeout: '1h', retry: { attempts: 7, first: '9s' } },
  errors: [],
  example: '',
};

test('`defaults` come before what the step type says, and behind what the step says', () => {
  const { pipeline, diagnostics } = compilePipeline(
    `
pipeline: example
defaults: { timeout: 10m, heartbeat: 5s, retry: { attempts: 2, factor: 3 }, on_failure: ask }
steps:
  - uses: test.step
  - parallel:
      - { uses: test.step, timeout: 20m, heartbeat: 6s, retry: { attempts: 4 }, on_failure: fail }
`,
    'example.yaml',
    [patient],
  );
  expect(diagnostics).toEqual([]);
  const [plain, block] = pipeline?.steps ?? [];
  const own = block?.kind === 'parallel' ? block.branches[0]?.step : undefined;
  const retry = { factor: 3, firstMs: 9_000, mostMs: 60_000, never: [] };
  expect(plain).toMatchObject({
    options: {
      timeoutMs: 600_000,
      attemptTimeoutMs: 600_000,
      heartbeatMs: 5_000,
      onFailure: 'ask',
      retry: { ...retry, attempts: 2 },
    },
  });
  expect(own).toMatchObject({
    options: { timeoutMs: 1_200_000, heartbeatMs: 6_000, retry: { ...retry, attempts: 4 } },
  });
  expect(own?.kind === 'step' ? own.options.onFailure : 'ask').toBeUndefined();
});
