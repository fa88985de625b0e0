/** Runs a program for a step: in the step's place, within its time, with its progress shown. */
import type {
  EndedProgram,
  ProcessPlace,
  ProgramEnd,
  ProgramSpec,
} from '../adapters/processes/processes.js';
import { StepError, type StepErrorCode } from '../core/error.js';
import { plainText } from '../core/plain-text.js';
import { createTrainingProgress, type TrainingProgress } from '../core/training-progress.js';
import type { StepContext } from './step-type.js';

const PROGRESS_EVERY_MS = 1_000;

/** What names the files of this try of this step, for programs and workspaces alike. */
export function placeOf({ call, scheduledAtMs }: StepContext): ProcessPlace {
  return { runId: call.runId, stepPath: call.path, start: call.start, scheduledAtMs };
}

/** Runs a program to its end, whatever its status; shows what it reports about itself about once a second. */
export async function runProgram(
  context: StepContext,
  spec: ProgramSpec,
  options: { prepare?: () => Promise<void>; progress?: TrainingProgress } = {},
): Promise<EndedProgram> {
  const progress = options.progress ?? createTrainingProgress();
  const startedAt = Date.now();
  let shownAt = 0;
  return context.adapters.processes.run(spec, {
    place: placeOf(context),
    deadlineMs: context.deadlineMs,
    signal: context.signal,
    isShutdown: context.isShutdown,
    ...(options.prepare === undefined ? {} : { prepare: options.prepare }),
    onText(source, text) {
      if (source === 'output') progress.readOutput(text);
      else progress.readMetrics(text);
      const now = Date.now();
      if (now - shownAt < PROGRESS_EVERY_MS) return;
      shownAt = now;
      context.progress({ elapsed: Math.round((now - startedAt) / 1_000), ...progress.status() });
    },
  });
}

/** `exited with status 3`, `was ended by SIGKILL`. */
function describeEnd(end: ProgramEnd): string {
  return end.kind === 'exited' ? `exited with status ${end.code}` : `was ended by ${end.signal}`;
}

/** True when the program ended by itself, with status 0. */
export function hasSucceeded({ end }: EndedProgram): boolean {
  return end.kind === 'exited' && end.code === 0;
}

/**
 * The error for a program that did not succeed: `code`, or PROGRAM_UNUSABLE when the shell could not find
 * (127) or not execute (126) the command. The hint shows its last output and where the rest is.
 */
export function toProgramError(what: string, ended: EndedProgram, code: StepErrorCode): StepError {
  const lastOutput = plainText(ended.tail.slice(-400), 400);
  const hint = `${lastOutput === '' ? 'It printed nothing.' : `Its last output: ${lastOutput}`} (all of it: ${ended.directory.log})`;
  const { end } = ended;
  if (end.kind === 'exited' && (end.code === 126 || end.code === 127)) {
    const why = end.code === 127 ? 'was not found' : 'cannot be executed';
    return new StepError('PROGRAM_UNUSABLE', `${what}: a command ${why} (status ${end.code}).`, {
      hint,
    });
  }
  return new StepError(code, `${what} ${describeEnd(end)}.`, { hint });
}
