import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ProgramEnd, ProgramFiles } from '../../core/host-protocol.js';
import { programFiles } from '../../host/program-files.js';
import { toEndedProgram } from './program-end.js';

describe('the end of a program as the host tells it', () => {
  let stateDir: string;
  let files: ProgramFiles;

  beforeEach(() => {
    stateDir = mkdtempSync(path.join(tmpdir(), 'adit-program-end-'));
    files = programFiles(stateDir, { runId: 'run-1', stepPath: 'trained', start: 1 });
    mkdirSync(path.dirname(files.log), { recursive: true });
    writeFileSync(files.log, 'step=1\nstep=2\n');
  });
  afterEach(() => rmSync(stateDir, { recursive: true }));

  const of = (
    end: Pick<ProgramEnd, 'cause' | 'code' | 'signal' | 'reason'>,
    signal = new AbortController().signal,
  ) =>
    toEndedProgram(
      { startedAtMs: 1, endedAtMs: 2, metrics: { loss: 2 }, ...end },
      {
        files,
        adopted: false,
        options: {
          limits: { stepMs: 7_200_000, graceMs: 1, minFreeBytes: 0, outputBytes: 1 },
          signal,
        },
        mask: (text) => text.replaceAll('s3cret', '[masked]'),
      },
    );

  it('tells no known secret, neither in a tail nor in an error', async () => {
    writeFileSync(files.log, 'key s3cret\n');
    expect(await of({ cause: 'exited', code: 3 })).toMatchObject({ tail: 'key [masked]\n' });
    const failure: unknown = await of({ cause: 'outOfMemory', signal: 'SIGKILL' }).catch(
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({
      hint: expect.stringContaining('Its last output: key [masked]') as string,
    });
  });

  it.each([
    [{ cause: 'exited', code: 3 }, { exit: { kind: 'exited', code: 3 } }],
    [{ cause: 'signalled', signal: 'SIGSEGV' }, { exit: { kind: 'signalled', signal: 'SIGSEGV' } }],
    [
      { cause: 'rule', code: 0 },
      { stoppedBy: 'rule', exit: { kind: 'exited', code: 0 } },
    ],
    [
      { cause: 'deadline' },
      { stoppedBy: 'deadline', exit: { kind: 'signalled', signal: 'SIGKILL' } },
    ],
  ] as const)('%j is a result', async (end, expected) => {
    const ended = await of(end);
    expect(ended).toMatchObject({ ...expected, tail: 'step=1\nstep=2\n', metrics: { loss: 2 } });
    expect('stoppedBy' in ended).toBe('stoppedBy' in expected);
  });

  it.each([
    [
      { cause: 'outOfMemory', signal: 'SIGKILL' },
      'PROGRAM_OUT_OF_MEMORY',
      'The program was killed by the kernel for want of memory.',
    ],
    [
      { cause: 'limit', code: 143 },
      'PROGRAM_TIMEOUT',
      'The program did not end within the time of its step (7200 s), and was ended.',
    ],
    [{ cause: 'lost' }, 'PROGRAM_LOST', 'The program is gone and did not record how it ended.'],
    [
      { cause: 'requested', reason: 'runUnknown' },
      'PROGRAM_LOST',
      'The program was ended (runUnknown) before this attempt.',
    ],
    [
      { cause: 'requested', reason: 'paused' },
      'PROGRAM_PAUSED',
      'The program was ended because its step was paused.',
    ],
  ] as const)('%j is the error %s', async (end, code, message) => {
    await expect(of(end)).rejects.toMatchObject({
      code,
      message,
      hint: expect.stringContaining(
        `Its last output: step=1 step=2 (all of it: ${files.log})`,
      ) as string,
    });
  });

  it('that was asked for is no error of the program when we were aborted meanwhile', async () => {
    const controller = new AbortController();
    const reason = new Error('cancelled');
    controller.abort(reason);
    await expect(of({ cause: 'requested', reason: 'cancelled' }, controller.signal)).rejects.toBe(
      reason,
    );
  });
});
