import { expect, test } from 'vitest';
import type { RunView, StepView } from '../core/run-view.js';
import { progressTable } from './progress-table.js';

const step = (index: number): StepView => ({
  path: `candidates#${index}/trained`,
  uses: 'candidate.train',
  status: 'succeeded',
  attempts: 1,
});

const view = (steps: StepView[]): RunView => ({
  runId: 'run',
  roundId: 'run',
  pipeline: 'frontier-round',
  status: 'running',
  stage: 'candidates',
  outputs: {},
  steps,
});

test('the table names pipeline, stage and each step that was reached', () => {
  const table = progressTable(view([step(0), { ...step(1), status: 'pending', attempts: 0 }]));
  expect(table).toContain('**frontier-round** is running, at candidates.');
  expect(table).toContain('| ✓ | candidates#0/trained | candidate.train | succeeded | 1 |  |');
  expect(table).not.toContain('candidates#1');
  expect(table).toContain('1 more to come.');
});

test('a run that has ended is said to have ended', () => {
  expect(progressTable({ ...view([]), status: 'succeeded' })).toContain(
    '**frontier-round** succeeded.\n',
  );
  expect(progressTable({ ...view([]), status: 'stopped' })).toContain(
    '**frontier-round** stopped, at candidates.\n',
  );
});

test('the table of a long run keeps its end and stays within what Temporal stores', () => {
  const table = progressTable(view(Array.from({ length: 1_000 }, (_, index) => step(index))));
  expect(table.length).toBeLessThan(12_500);
  expect(table).toContain('candidates#999/trained');
  expect(table).not.toContain('candidates#0/trained');
});

test('an error cannot break the table', () => {
  const table = progressTable({
    ...view([]),
    error: { code: 'PROGRAM_FAILED', message: 'a | b\nc' },
  });
  expect(table).toContain('**PROGRAM_FAILED** a   b c');
});

test('a parked step is told above the table, with its error and the command that decides', () => {
  const table = progressTable(
    view([
      {
        ...step(0),
        status: 'parked',
        error: { code: 'EFFECT_UNKNOWN', message: 'Nobody knows.' },
        note: 'asks until 2026-01-01T00:00:00.000Z, then the run ends as stopped',
        decide: `decide run 'candidates#0/trained' --retry`,
      },
      { ...step(1), status: 'running', note: 'cancelling, waits for host x' },
    ]),
  );
  expect(table).toContain(
    '- candidates#0/trained asks a person (asks until 2026-01-01T00:00:00.000Z, then the run ends as stopped): ' +
      "**EFFECT_UNKNOWN** Nobody knows. Decide with `adit decide run 'candidates#0/trained' --retry`.",
  );
  expect(table).toContain('- candidates#1/trained: cancelling, waits for host x');
  expect(table).toContain(
    '| ⏸ | candidates#0/trained | candidate.train | parked | 1 | EFFECT_UNKNOWN |',
  );
});

test('of many steps that wait the first are told', () => {
  const parked = Array.from({ length: 30 }, (_, index) => ({
    ...step(index),
    status: 'parked' as const,
    error: { code: 'EFFECT_UNKNOWN', message: 'x'.repeat(2_000) },
    decide: 'decide run a --retry',
  }));
  const table = progressTable(view(parked));
  expect(table).toContain('- and 20 more');
  expect(table.length).toBeLessThan(12_500);
});
