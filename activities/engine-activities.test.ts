import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { asyncLocalStorage, type Context } from '@temporalio/activity';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createStepRig, type StepRig } from '../test/fakes/step-context.js';
import { isProcessAlive } from '../test/support/processes.js';
import { until } from '../test/support/until.js';
import {
  createCheckOutputsActivity,
  createEndProgramActivity,
  createPlaceActivity,
} from './engine-activities.js';
import { runProgram } from './program.js';
import { STEP_TYPES } from './registry.js';

describe('the check of outputs that a person gives', () => {
  const check = createCheckOutputsActivity(STEP_TYPES);

  it('returns them as the step type reads them', async () => {
    const log = { uri: 'store:///x', sha256: 'a'.repeat(64), sizeBytes: 1 };
    const outputs = { exit_code: 0, outputs: { n: 1 }, log };
    expect(await check({ uses: 'process.run', outputs })).toEqual(outputs);
  });

  it.each([
    ['process.run', { exit_code: 'no' }, 'process.run: exit_code: '],
    ['process.run', { exit_code: 0, outputs: {} }, 'process.run: log: '],
    ['process.run', { status: 0 }, 'process.run has no output status.'],
    ['no.such', {}, 'This worker does not know the step type no.such.'],
    [
      'gate.evidence',
      {},
      'The outputs of gate.evidence are a proof that the gate was passed; nobody can give them.',
    ],
    [
      'workspace.setup',
      { ran: true, workspace: { queue: 'q', path: '/w', commit: 'c'.repeat(40) } },
      'workspace.setup: workspace.tree: ',
    ],
  ])('refuses %s %j', async (uses, outputs, message) => {
    await expect(check({ uses, outputs })).rejects.toMatchObject({
      type: 'DECISION_INVALID',
      message: expect.stringContaining(message) as string,
      nonRetryable: true,
    });
  });

  it('refuses what is too large to travel', async () => {
    const log = { uri: 'store:///x', sha256: 'a'.repeat(64), sizeBytes: 1 };
    const outputs = { exit_code: 0, outputs: { text: 'x'.repeat(70_000) }, log };
    await expect(check({ uses: 'process.run', outputs })).rejects.toMatchObject({
      type: 'DECISION_INVALID',
      message: expect.stringMatching(/^The outputs are \d+ bytes long; at most 65536/) as string,
    });
  });
});

describe('the end of a program, confirmed', () => {
  let rig: StepRig;
  beforeEach(() => {
    rig = createStepRig();
  });
  afterEach(() => rig.close());

  const end = (processes = rig.adapters.processes, token = 2): Promise<void> => {
    const activity = {
      info: { currentAttemptScheduledTimestampMs: token },
      cancellationSignal: new AbortController().signal,
      heartbeat: () => undefined,
      log: { warn: () => undefined },
    } as unknown as Context;
    return asyncLocalStorage.run(activity, () =>
      createEndProgramActivity({ processes })({ runId: 'run-1', stepPath: 'left' }),
    );
  };

  it('leaves nothing of the step on this host, and does nothing where there is nothing', async () => {
    await end();
    const pidFile = path.join(rig.stateDir, 'pid');
    const controller = new AbortController();
    const reason = new Error('lost');
    const context = rig.context('left', { signal: controller.signal, scheduledAtMs: 3 });
    const running = runProgram(context, {
      program: { command: `echo $$ > ${pidFile}.tmp; mv ${pidFile}.tmp ${pidFile}; sleep 60` },
    });
    await until('the program', () => existsSync(pidFile));
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
    const pid = Number(readFileSync(pidFile, 'utf8'));
    expect(await isProcessAlive(pid)).toBe(true);
    await end(rig.adapters.processes, 4);
    expect(await isProcessAlive(pid)).toBe(false);
  });

  it('is asked for again when it could not be confirmed', async () => {
    await rig.adapters.processes.endStep({
      runId: 'run-1',
      stepPath: 'left',
      token: 10,
      reason: 'confirm',
    });
    await expect(end(rig.adapters.processes, 5)).rejects.toMatchObject({
      type: 'PROGRAM_TAKEN_OVER',
      nonRetryable: false,
      nextRetryDelay: 5_000,
    });
  });
});

it('the place of a run is the queue of the host that answers', async () => {
  expect(await createPlaceActivity({ hostQueue: 'adit.host.a' })()).toEqual({
    queue: 'adit.host.a',
  });
});
