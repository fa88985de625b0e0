/** What the host says when it cannot do what was asked of a program. */
import { StepError } from '../core/error.js';
import type { ProgramPlace } from '../core/host-protocol.js';

export function takenOver(): StepError {
  return new StepError('PROGRAM_TAKEN_OVER', 'A newer attempt of this step has the program.');
}

export function outOfReach({ runId, stepPath, start }: ProgramPlace): StepError {
  return new StepError(
    'HOST_UNUSABLE',
    `Start ${start} of step ${stepPath} of run ${runId} lives in another pid namespace of this machine, where this process host cannot signal it.`,
    { hint: 'End it where it runs, for example by stopping its container.' },
  );
}

export function tooNew(root: string): StepError {
  return new StepError('HOST_UNUSABLE', `A newer build of Adit wrote the records in ${root}.`, {
    hint: 'Run the process host of that build, or a later one.',
  });
}

export function nothingLives({ runId, stepPath }: Omit<ProgramPlace, 'start'>): StepError {
  return new StepError(
    'STEP_PATH_UNKNOWN',
    `No program of step ${stepPath} of run ${runId} runs on this host.`,
    { hint: '`adit ps` lists those that do.' },
  );
}
