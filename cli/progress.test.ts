import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { RunView, StepView } from '../core/run-view.js';
import { createProgressView, statusText } from './progress.js';

/** A stream that is no terminal, and what was written to it. */
function notATerminal(): { stream: NodeJS.WriteStream; text: () => string } {
  const through = new PassThrough();
  let text = '';
  through.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return { stream: through as PassThrough & NodeJS.WriteStream, text: () => text };
}

function step(path: string, status: StepView['status'], more: Partial<StepView> = {}): StepView {
  const startedAt = '2026-11-21T10:00:00.000Z';
  return { path, uses: 'candidate.train', status, attempts: 1, startedAt, ...more };
}

function view(...steps: StepView[]): RunView {
  return {
    runId: 'r',
    roundId: 'r',
    pipeline: 'p',
    status: 'running',
    stage: 'train',
    outputs: {},
    steps,
  };
}

describe('progress where there is no terminal', () => {
  it('prints each end once, with its time, its word or its error', async () => {
    const { stream, text } = notATerminal();
    const progress = await createProgressView(stream);
    const ended = { endedAt: '2026-11-21T10:00:04.200Z' };
    const first = view(step('baseline', 'succeeded', ended), step('train', 'running'));
    progress.update(
      { view: first, pending: [], stalled: null },
      new Map([['baseline', 'perplexity 7.1']]),
    );
    const error = { code: 'PROGRAM_FAILED', message: 'exit code 3\u001b[31m' };
    const second = view(
      step('baseline', 'succeeded', ended),
      step('train', 'failed', { ...ended, error, attempts: 2 }),
    );
    progress.update({ view: second, pending: [], stalled: null });
    progress.end();
    expect(text().split('\n')).toEqual([
      '✓ baseline  candidate.train  4.2s  perplexity 7.1',
      '✗ train  candidate.train  4.2s  PROGRAM_FAILED: exit code 3 [31m',
      '↻ train  try 2',
      '',
    ]);
  });

  it('says once that no worker takes the run, and again only when the reason changes', async () => {
    const { stream, text } = notATerminal();
    const progress = await createProgressView(stream);
    const stalled = 'no worker polls the task queue "adit"; start one with `adit worker`';
    for (const reason of [stalled, stalled, null, stalled])
      progress.update({ view: null, pending: [], stalled: reason });
    progress.end();
    expect(text()).toBe(`… ${stalled}\n… ${stalled}\n`);
  });

  it('does not repeat a status that has not changed', async () => {
    const { stream, text } = notATerminal();
    const progress = await createProgressView(stream);
    const pending = [
      { path: 'train', attempt: 1, status: { step: 5, total: 10 }, waitingFor: null },
    ];
    for (let times = 0; times < 3; times += 1)
      progress.update({ view: null, pending, stalled: null });
    progress.end();
    expect(text()).toBe('▶ train  step 5/10\n');
  });
});

describe('a step that waits for a person', () => {
  it('is told once, with why and the command that decides', async () => {
    const { stream, text } = notATerminal();
    const progress = await createProgressView(stream);
    const error = { code: 'EFFECT_UNKNOWN', message: 'nobody knows' };
    const parked = view(step('submitted', 'parked', { error, note: 'until 10:00' }));
    for (let times = 0; times < 2; times += 1)
      progress.update({ view: parked, pending: [], stalled: null });
    progress.update({ view: view(step('submitted', 'running')), pending: [], stalled: null });
    progress.update({ view: parked, pending: [], stalled: null });
    progress.end();
    const told = [
      '‖ submitted  waits for a decision: EFFECT_UNKNOWN: nobody knows (until 10:00)',
      expect.stringMatching(/^ {2}decide with: .*adit decide r submitted$/),
    ];
    expect(text().split('\n')).toEqual([...told, ...told, '']);
  });
});

it('tells once what a step waits for that is being cancelled', async () => {
  const { stream, text } = notATerminal();
  const progress = await createProgressView(stream);
  const note = 'cancelling, waits for host h1';
  for (let times = 0; times < 2; times += 1)
    progress.update({ view: view(step('train', 'running', { note })), pending: [], stalled: null });
  progress.update({ view: view(step('train', 'cancelled', { note })), pending: [], stalled: null });
  progress.end();
  expect(text()).toBe(`‖ train  ${note}\n⊘ train  candidate.train  cancelled\n`);
});

describe("a step's status", () => {
  it('says which device its program waits for', () => {
    const status = { step: 'train', waiting: 'device 0 (run r, step s)' };
    expect(statusText({ path: 'train', attempt: 1, status, waitingFor: null })).toBe(
      'waits for device 0 (run r, step s)',
    );
  });

  it('shows phase, step, loss and ETA first, then the rest', () => {
    const status = {
      phase: 'tuning',
      step: 120,
      total: 400,
      loss: 1.832456,
      elapsed: 3,
      eta: 72,
      note: 'x',
    };
    expect(statusText({ path: 'train', attempt: 1, status, waitingFor: null })).toBe(
      'tuning  step 120/400  loss 1.8325  ETA 1m 12s  note x',
    );
  });

  it('is empty for a step that reports only where it is', () => {
    expect(
      statusText({ path: 'train', attempt: 1, status: { step: 'train' }, waitingFor: null }),
    ).toBe('');
  });

  it('names the attempt of one whose worker was lost, and what one waits for', () => {
    expect(statusText({ path: 'train', attempt: 2, status: {}, waitingFor: null })).toBe(
      'attempt 2',
    );
    expect(
      statusText({ path: 'proof', attempt: 9, status: {}, waitingFor: 'epoch 3 is not there yet' }),
    ).toBe('waits: epoch 3 is not there yet');
  });

  it('shortens the ids of what it waits for, so that the reason is read at 80 columns', () => {
    const waitingFor =
      'The submission ebbae9a8-3adf-4e21-8cef-05382498c4b1 of 5Eqey2uqwRF7GBoUPNeXCrWcKCqsugwvDn4DBdBiwX3AEzzb is pending.';
    expect(statusText({ path: 'acceptance', attempt: 1, status: {}, waitingFor })).toBe(
      'waits: The submission ebbae9a8… of 5Eqey2… is pending.',
    );
  });
});
