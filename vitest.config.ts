import { defineConfig } from 'vitest/config';

/** What is waited for may take long on a busy machine; a second, as vitest has it, asserts a duration. */
const patient = { expect: { poll: { timeout: 50_000 } } };

/** Tests that start servers or count processes run one file at a time: two cores are all there is. */
const oneAtATime = {
  expect: { poll: { timeout: 60_000 } },
  pool: 'forks',
  fileParallelism: false,
  testTimeout: 120_000,
  hookTimeout: 300_000,
  globalSetup: ['test/support/temporal-server.setup.ts'],
};

export default defineConfig({
  test: {
    // Left to itself vitest uses one core of two.
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            'test/unit/**/*.test.ts',
            '{core,compiler,testing,rehearse,workflows,activities,adapters,worker,cli,host,devnet}/**/*.test.ts',
          ],
          pool: 'forks',
          ...patient,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'corpus',
          include: ['test/corpus/**/*.test.ts'],
          pool: 'forks',
          ...patient,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'replay',
          include: ['test/replay/**/*.test.ts'],
          pool: 'forks',
          ...patient,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      { test: { name: 'integration', include: ['test/integration/**/*.test.ts'], ...oneAtATime } },
      { test: { name: 'fault', include: ['test/fault/**/*.test.ts'], ...oneAtATime } },
      { test: { name: 'bench', include: ['test/bench/**/*.test.ts'], ...oneAtATime } },
      { test: { name: 'e2e', include: ['test/e2e/**/*.test.ts'], ...oneAtATime } },
    ],
  },
});
