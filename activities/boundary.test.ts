import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { asyncLocalStorage, type Context } from '@temporalio/activity';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { NotYet, StepError } from '../core/error.js';
import type { StepCall } from '../core/step-call.js';
import { createStepRig, type StepRig } from '../test/fakes/step-context.js';
import { isProcessAlive } from '../test/support/processes.js';
import { until } from '../test/support/until.js';
import { createActivities } from './boundary.js';
import { runProgram } from './program.js';
import { defineStep, type StepContext } from './step-type.js';

/** Just as much of Temporal's context as the boundary uses. */
interface FakeActivity {
  readonly info: {
    attempt: number;
    scheduledTimestampMs: number;
    currentAttemptScheduledTimestampMs: number;
    scheduleToCloseTimeoutMs: number;
    startToCloseTimeoutMs: number;
    heartbeatTimeoutMs?: number;
  };
  readonly cancellationSignal: AbortSignal;
  cancellationDetails: object | undefined;
  heartbeat(details: unknown): void;
}

describe('the boundary', () => {
  let rig: StepRig;
  let activity: FakeActivity;
  let controller: AbortController;
  /** How often a step said that the server no longer knows it. */
  let forgotten: number;

  beforeEach(() => {
    forgotten = 0;
    rig = createStepRig({ ADIT_COORDINATOR_URL: 'https://ours.example' });
    controller = new AbortController();
    const now = Date.now();
    activity = {
      info: {
        attempt: 1,
        scheduledTimestampMs: now,
        currentAttemptScheduledTimestampMs: now,
        scheduleToCloseTimeoutMs: 60_000,
        startToCloseTimeoutMs: 60_000,
      },
      cancellationSignal: controller.signal,
      cancellationDetails: undefined,
      heartbeat: () => undefined,
    };
  });
  afterEach(() => rig.close());

  const call = (changes: Partial<StepCall> = {}): StepCall => ({
    runId: 'run-1',
    roundId: 'run-1',
    pipeline: 'test',
    path: 'tried',
    start: 1,
    network: { coordinator: '', hotkey: '' },
    input: {},
    ...changes,
  });

  async function run(
    body: (context: StepContext) => Promise<{ n: number; text?: string }>,
    given: StepCall = call(),
    kind: { program?: true; effect?: true } = {},
  ): Promise<unknown> {
    return stepOf(body, kind)(given);
  }

  /** One worker's: it remembers what it has recorded. */
  function stepOf(
    body: (context: StepContext) => Promise<{ n: number; text?: string }>,
    kind: { program?: true; effect?: true } = {},
  ): (given: StepCall) => Promise<unknown> {
    const stepType = defineStep({
      name: 'test.step',
      summary: 'Does what a test says.',
      input: z.object({}),
      output: z.object({ n: z.number(), text: z.string().optional() }),
      defaults: { timeout: '1m' },
      errors: [],
      ...kind,
      example: '',
      run: (_input, context) => body(context),
    });
    const step = createActivities([stepType], rig.adapters, () => (forgotten += 1))['test.step'];
    return (given) =>
      asyncLocalStorage.run(activity as unknown as Context, async () => step?.(given as never));
  }

  /** What the records of the run's steps say, in the order in which they were written. */
  function recorded(): unknown[] {
    const file = path.join(rig.adapters.evidence.directory('run-1'), 'steps.jsonl');
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const { status, waitingFor } = JSON.parse(line) as { [name: string]: unknown };
        return waitingFor ?? status;
      });
  }

  it('hands a step error to the interpreter: its code, its hint, and never to be retried here', async () => {
    const failing = run(() =>
      Promise.reject(new StepError('COORDINATOR_RATE_LIMITED', 'Slow down.', { retryAfterMs: 7 })),
    );
    await expect(failing).rejects.toMatchObject({
      type: 'COORDINATOR_RATE_LIMITED',
      message: 'Slow down.',
      nonRetryable: true,
      details: [{ retryable: true, retryAfterMs: 7 }],
    });
  });

  it('tells the server nothing of a step that ends at once, and beats for one that goes on', async () => {
    const beats: unknown[] = [];
    activity.heartbeat = (details) => beats.push(details);
    await run(async () => ({ n: 1 }));
    expect(beats).toEqual([]);
    await run(async () => {
      await vi.waitUntil(() => beats.length > 1, { timeout: 10_000 });
      return { n: 1 };
    });
    expect(beats.slice(0, 2)).toEqual([{ step: 'tried' }, { step: 'tried' }]);
  });

  it('beats oftener where a step allows little silence', async () => {
    activity.info.heartbeatTimeoutMs = 600;
    const beaten = new Promise((resolve) => {
      activity.heartbeat = () => resolve('beaten');
    });
    // Timers fire in the order of their times, on a busy machine too.
    const silent = sleep(600, 'silent');
    let first: unknown;
    await run(async () => {
      first = await Promise.race([beaten, silent]);
      return { n: 1 };
    });
    expect(first).toBe('beaten');
  });

  it.each([
    [{ program: true }, 1],
    [{ effect: true }, 1],
    [{}, 2],
  ] as const)(
    'asks the server whether the step is still its own before it does what lasts: %o, attempt %i',
    async (kind, attempt) => {
      activity.info.attempt = attempt;
      const order: string[] = [];
      activity.heartbeat = () => order.push('beat');
      await run(
        async () => {
          order.push('step');
          return { n: 1 };
        },
        call(),
        kind,
      );
      expect(order).toEqual(['beat', 'step']);
    },
  );

  it('knows that after a reset a first attempt need not be the first', async () => {
    const first = async ({ firstAttempt }: StepContext) => ({ n: firstAttempt ? 1 : 0 });
    expect(await run(first)).toEqual({ n: 1 });
    expect(await run(first, call({ reset: true }))).toEqual({ n: 0 });
  });

  it('knows that after a pause or a reset of the step itself a first attempt is none', async () => {
    const first = async ({ firstAttempt }: StepContext) => ({ n: firstAttempt ? 1 : 0 });
    activity.info.currentAttemptScheduledTimestampMs += 2_000;
    expect(await run(first)).toEqual({ n: 0 });
  });

  it('lets a bug pass, so that it is retried until the mended build runs', async () => {
    const bug = new TypeError('x is not a function');
    await expect(run(() => Promise.reject(bug))).rejects.toBe(bug);
  });

  it('calls a full disk by its name, wherever it showed', async () => {
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
      code: 'ENOSPC',
    });
    await expect(run(() => Promise.reject(full))).rejects.toMatchObject({
      type: 'DISK_FULL',
      message: 'No space left: ENOSPC: no space left on device, write.',
      nonRetryable: true,
    });
  });

  it('says that outputs are too large before they are sent, where nothing could take them', async () => {
    const large = run(async () => ({ n: 1, text: 'x'.repeat(5_000_000) }));
    await expect(large).rejects.toMatchObject({
      type: 'STATE_TOO_LARGE',
      message: 'test.step returned 5000017 bytes; at most 65536 may travel.',
      nonRetryable: true,
    });
  });

  it('refuses to act for a run that was started for another coordinator', async () => {
    let acted = false;
    const refused = run(
      async () => {
        acted = true;
        return { n: 1 };
      },
      call({ network: { coordinator: 'https://theirs.example', hotkey: '' } }),
    );
    await expect(refused).rejects.toMatchObject({
      type: 'NETWORK_MISMATCH',
      message:
        'The run was started for the coordinator https://theirs.example; this worker uses https://ours.example.',
    });
    expect(acted).toBe(false);
  });

  it('tells until when a person may be asked about what it has waited for too long', async () => {
    activity.info.scheduleToCloseTimeoutMs = 1_000;
    const held = () => Promise.reject(new NotYet('EFFECTS_HELD', 'Held.', 5_000, 77));
    await expect(run(held)).rejects.toMatchObject({
      type: 'EFFECTS_HELD',
      details: [{ askUntilMs: 77 }],
    });
  });

  it('waits without an error for what is not there yet, and looks a last time before the deadline', async () => {
    const notYet = () =>
      Promise.reject(new NotYet('SUBMISSION_UNDECIDED', 'It is pending.', 600_000));
    const waiting = await run(notYet).catch((error: unknown) => error);
    expect(waiting).toMatchObject({ type: 'NOT_YET', nonRetryable: false });
    expect((waiting as { nextRetryDelay: number }).nextRetryDelay).toBeLessThan(59_001);
    activity.info.scheduledTimestampMs -= 58_500;
    await expect(run(notYet)).rejects.toMatchObject({
      type: 'SUBMISSION_UNDECIDED',
      nonRetryable: true,
    });
  });

  it('records what is waited for once, however often it is looked at, and how it has ended', async () => {
    const looks = ['no', 'no', 'not now', 'no'];
    const step = stepOf(async () => {
      const message = looks.shift();
      if (message !== undefined) throw new NotYet('EFFECTS_HELD', message, 10);
      return { n: 1 };
    });
    while (looks.length > 0) await step(call()).catch(() => null);
    await step(call());
    expect(recorded()).toEqual(['no', 'not now', 'no', 'succeeded']);
  });

  it('records a step that goes on for a while once before its end, and one that ends at once by its end alone', async () => {
    await run(async () => ({ n: 1 }));
    expect(recorded()).toEqual(['succeeded']);
    activity.info.heartbeatTimeoutMs = 600;
    await run(async () => {
      let beats = 0;
      activity.heartbeat = () => (beats += 1);
      await vi.waitUntil(() => recorded().length > 1, { timeout: 20_000 });
      await vi.waitUntil(() => beats > 7, { timeout: 20_000 });
      return { n: 1 };
    });
    expect(recorded()).toEqual(['succeeded', 'running', 'succeeded']);
  });

  it('gives the reason of a cancellation, whatever a step made of it', async () => {
    const reason = new Error('cancelled');
    const cancelled = run(async () => {
      controller.abort(reason);
      throw new StepError('PROGRAM_LOST', 'gone');
    });
    await expect(cancelled).rejects.toBe(reason);
  });

  it('waits for a host that does not answer, since its programs go on', async () => {
    const lost = () =>
      Promise.reject(new StepError('HOST_UNAVAILABLE', 'The process host does not answer.'));
    await expect(run(lost)).rejects.toMatchObject({
      type: 'NOT_YET',
      message: 'The process host does not answer.',
      nonRetryable: false,
      nextRetryDelay: 5_000,
    });
    activity.info.scheduledTimestampMs -= 58_500;
    await expect(run(lost)).rejects.toMatchObject({ type: 'HOST_UNAVAILABLE', nonRetryable: true });
    expect(await run(async ({ deadlineMs }) => ({ n: deadlineMs === null ? 1 : 0 }))).toEqual({
      n: 0,
    });
    await expect(run(lost, call(), { program: true })).rejects.toMatchObject({ type: 'NOT_YET' });
  });

  it('tells until when a person may be waited for', async () => {
    const asking = run(() =>
      Promise.reject(new StepError('EFFECT_UNKNOWN', 'Not known.', { askUntilMs: 12_345 })),
    );
    await expect(asking).rejects.toMatchObject({
      type: 'EFFECT_UNKNOWN',
      details: [{ retryable: false, askUntilMs: 12_345 }],
    });
  });

  describe('and the program of a step that is aborted', () => {
    const nothing = {
      cancelRequested: false,
      paused: false,
      reset: false,
      timedOut: false,
      workerShutdown: false,
      notFound: false,
    };

    /** Aborts the step while its program runs; returns whether that lives on, what was thrown, and calls for a look. */
    async function abortWith(
      details: Partial<typeof nothing>,
    ): Promise<{ lives: boolean; thrown: unknown; looks: number }> {
      const pidFile = path.join(rig.stateDir, 'pid');
      const reason = new Error('aborted');
      const running = run(
        async (context) => {
          const command = `echo $$ > ${pidFile}.tmp; mv ${pidFile}.tmp ${pidFile}; sleep 60`;
          await runProgram(context, { program: { command } });
          return { n: 1 };
        },
        call(),
        { program: true },
      ).catch((error: unknown) => error);
      await until('the program', () => existsSync(pidFile));
      const pid = Number(readFileSync(pidFile, 'utf8'));
      activity.cancellationDetails = { ...nothing, ...details };
      controller.abort(reason);
      const thrown = await running;
      return { lives: await isProcessAlive(pid), thrown: thrown === reason, looks: forgotten };
    }

    it.each([
      ['is cancelled', { cancelRequested: true }, false, 0],
      ['is paused', { paused: true }, false, 0],
      ['has a worker that shuts down', { workerShutdown: true, cancelRequested: true }, true, 0],
      ['was lost by a worker that was cut off', { timedOut: true, notFound: true }, true, 1],
      ['is reset', { reset: true }, true, 0],
      ['is no longer known, so that its run is looked up', { notFound: true }, true, 1],
    ])('when it %s', async (_what, details, lives, looks) => {
      expect(await abortWith(details)).toEqual({ lives, thrown: true, looks });
    });
  });
});
