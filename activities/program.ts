/** Runs a program for a step: in the step's place, within its limits, with its progress shown. */
import { readdirSync } from 'node:fs';
import type { EndedProgram, ProgramExit, ProgramSpec } from '../adapters/processes/processes.js';
import { describeOutput } from '../core/describe-output.js';
import { StepError, type StepErrorCode } from '../core/error.js';
import type {
  ProgramEvent,
  ProgramLimits,
  ProgramPlace,
  ProgramWatch,
} from '../core/host-protocol.js';
import type { Json } from '../core/json.js';
import { plainText } from '../core/plain-text.js';
import type { StepContext } from './step-type.js';

/** From TERM to KILL. */
const DEFAULT_GRACE_MS = 10_000;

/** What names the files of this start of this step, for programs and workspaces alike. */
export function placeOf({
  call,
  scheduledAtMs,
}: StepContext): ProgramPlace & { readonly scheduledAtMs: number } {
  return { runId: call.runId, stepPath: call.path, start: call.start, scheduledAtMs };
}

export interface ProgramOptions {
  /** Called before the program is started, and not when one is adopted or its result is taken. */
  readonly prepare?: () => Promise<void>;
  readonly watch?: ProgramWatch;
  /** Besides the time limits of the step, which come with the call. */
  readonly limits?: Partial<Pick<ProgramLimits, 'deadlineMs' | 'warning' | 'graceMs'>>;
}

/** Runs a program to its end, whatever its status; shows what it reports about itself about once a second. */
export async function runProgram(
  context: StepContext,
  spec: ProgramSpec,
  { prepare, watch, limits }: ProgramOptions = {},
): Promise<EndedProgram> {
  const { call, adapters, signal, scheduledAtMs } = context;
  const { minFreeBytes, maxOutputBytes } = adapters.settings;
  const attemptTimeoutMs = call.program?.attemptTimeoutMs;
  const gpus = call.program?.gpus;
  return adapters.processes.run(spec, {
    place: placeOf(context),
    token: scheduledAtMs,
    limits: {
      stepMs: call.program?.timeoutMs ?? null,
      ...(attemptTimeoutMs === undefined ? {} : { startMs: attemptTimeoutMs }),
      graceMs: DEFAULT_GRACE_MS,
      minFreeBytes,
      outputBytes: maxOutputBytes,
      ...limits,
    },
    ...(watch === undefined ? {} : { watch }),
    ...(gpus === undefined ? {} : { gpus }),
    ...(prepare === undefined ? {} : { prepare }),
    signal,
    onEvent: (event) => context.progress(toStatus(event)),
  });
}

/** What people are shown of a program that waits or runs. */
function toStatus(event: ProgramEvent): { [key: string]: Json } {
  if (event.kind === 'waiting') return { waiting: plainText(event.reason, 200) };
  const { ranMs, devices, warning, status } = event;
  return {
    elapsed: Math.round(ranMs / 1_000),
    ...status,
    ...(devices.length === 0 ? {} : { devices: devices.join(',') }),
    ...(warning === undefined ? {} : { warning: plainText(warning, 200) }),
  };
}

/** `exited with status 3`, `was ended by SIGKILL`. */
function describeExit(exit: ProgramExit): string {
  return exit.kind === 'exited' ? `exited with status ${exit.code}` : `was ended by ${exit.signal}`;
}

/** Only the program can read them, and one that is damaged would fail every further start. */
function describeCheckpoints(checkpointDir: string | undefined): string {
  if (checkpointDir === undefined || isEmptyOrGone(checkpointDir)) return '';
  return ` The next start finds its checkpoints in ${checkpointDir}; remove one that is damaged.`;
}

function isEmptyOrGone(folder: string): boolean {
  try {
    return readdirSync(folder).length === 0;
  } catch {
    // The program may have removed it.
    return true;
  }
}

/** True when the program ended by itself, with status 0. */
export function hasSucceeded({ exit, stoppedBy }: EndedProgram): boolean {
  return stoppedBy === undefined && exit.kind === 'exited' && exit.code === 0;
}

/**
 * The error for a program that did not succeed: `code`, or PROGRAM_UNUSABLE when the shell could not find
 * (127) or not execute (126) the command. The hint shows its last output and where the rest is, and where its
 * checkpoints are when there are any.
 */
export function toProgramError(
  what: string,
  ended: EndedProgram,
  code: StepErrorCode,
  checkpointDir?: string,
): StepError {
  const output = describeOutput(ended.tail, ended.files.log);
  const hint = `${output}${describeCheckpoints(checkpointDir)}`;
  const { exit } = ended;
  if (exit.kind === 'exited' && (exit.code === 126 || exit.code === 127)) {
    const why = exit.code === 127 ? 'was not found' : 'cannot be executed';
    return new StepError('PROGRAM_UNUSABLE', `${what}: a command ${why} (status ${exit.code}).`, {
      hint,
    });
  }
  return new StepError(code, `${what} ${describeExit(exit)}.`, { hint });
}
