/** Which codes a step of a run can end with. */
import type { StepSignature } from '../compiler/step-signature.js';
import { isStepErrorCode, STEP_ERRORS, type StepErrorCode } from '../core/error.js';

/** What every step can end with, whatever its type: its boundary, the engine, a full disk, the worker's settings. */
const COMMON: readonly StepErrorCode[] = [
  'STEP_INPUT_INVALID',
  'STEP_OUTPUT_INVALID',
  'STEP_TYPE_UNKNOWN',
  'STEP_TIMEOUT',
  'ATTEMPT_TIMEOUT',
  'EXPRESSION_FAILED',
  'STATE_TOO_LARGE',
  'NETWORK_MISMATCH',
  'SETTING_MISSING',
  'SETTING_INVALID',
  'HOTKEY_MISSING',
  'HOTKEY_ENCRYPTED',
  'HOTKEY_PASSWORD_WRONG',
  'HOTKEY_UNUSABLE',
  'DISK_FULL',
];

const OF_HOSTS: readonly StepErrorCode[] = ['HOST_UNAVAILABLE', 'HOST_UNUSABLE', 'HOST_BUSY'];

const OF_PROGRAMS: readonly StepErrorCode[] = [
  'PROGRAM_LOST',
  'PROGRAM_PAUSED',
  'PROGRAM_TAKEN_OVER',
  'PROGRAM_TIMEOUT',
  'PROGRAM_KILLED',
];

/** A defect of Adit that outlasted the step's time: no step error, but an end that a run can have. */
export const DEFECT = 'INTERNAL';

/** The codes, those of the step type itself first. */
export function codesOf({ errors, program, host }: StepSignature): readonly string[] {
  const ofHost = program === true || host !== undefined ? OF_HOSTS : [];
  const ofProgram = program === true ? OF_PROGRAMS : [];
  return [...new Set([...errors, ...ofProgram, ...ofHost, ...COMMON, DEFECT])];
}

/** True for a code that ends the run as stopped: a decision, not a failure. */
export function stopsRun(code: string): boolean {
  return isStepErrorCode(code) && STEP_ERRORS[code].ends === 'stopped';
}
