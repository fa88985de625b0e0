/**
 * How a step can fail, and what a failure does to its run.
 *
 * `retryable`: the interpreter may try the step again, within its `retry` option.
 * `ends`: what the run becomes when the step has no try left. `failed` means that something is
 * wrong; `stopped` means that going on would be a wrong decision (a task that is not live, a gate
 * that is not passed); `asks` parks the step until a person has decided (protocol section 6, "ask").
 * `restart`: the step begins its next start at once, and the start that ended so counts as no try.
 */
export interface StepErrorRule {
  readonly retryable: boolean;
  readonly ends: 'failed' | 'stopped' | 'asks';
  readonly restart?: true;
}

const transient = { retryable: true, ends: 'failed' } as const;
const failed = { retryable: false, ends: 'failed' } as const;
const stopped = { retryable: false, ends: 'stopped' } as const;
const asks = { retryable: false, ends: 'asks' } as const;
const restarts = { retryable: true, ends: 'failed', restart: true } as const;

/** Every code a step can fail with. A code is public: renaming one breaks users' `retry` rules. */
export const STEP_ERRORS = {
  // The engine itself
  STEP_INPUT_INVALID: failed,
  STEP_OUTPUT_INVALID: failed,
  STEP_TYPE_UNKNOWN: failed,
  STEP_TIMEOUT: failed,
  ATTEMPT_TIMEOUT: transient,
  EXPRESSION_FAILED: failed,
  STATE_TOO_LARGE: failed,
  FOREACH_FAILED: failed,
  REPEAT_LIMIT_REACHED: failed,
  FINALLY_TIMEOUT: failed,
  PIPELINE_INPUT_INVALID: failed,
  PIPELINE_CANCELLED: stopped,
  PIPELINE_LOST: failed,
  NETWORK_MISMATCH: failed,
  ROUND_RUNNING: stopped,
  DECISION_INVALID: failed,
  APPROVAL_REJECTED: stopped,
  APPROVAL_EXPIRED: stopped,
  APPROVAL_CHANGED: failed,
  UNTIL_REACHED: stopped,
  STEP_PATH_UNKNOWN: failed,
  SETTING_MISSING: failed,
  SETTING_INVALID: failed,
  DISK_LOW: failed,
  DISK_FULL: failed,
  FILE_MISSING: failed,
  FILE_CHANGED: failed,

  // Hotkey
  HOTKEY_MISSING: failed,
  HOTKEY_ENCRYPTED: failed,
  HOTKEY_PASSWORD_WRONG: failed,
  HOTKEY_UNUSABLE: failed,
  HOTKEY_MISMATCH: failed,

  // Coordinator (protocol section 6)
  COORDINATOR_UNAVAILABLE: transient,
  COORDINATOR_REPLY_INVALID: transient,
  COORDINATOR_REPLY_TOO_LARGE: failed,
  COORDINATOR_REDIRECTED: failed,
  COORDINATOR_RATE_LIMITED: transient,
  COORDINATOR_UNAUTHORIZED: failed,
  COORDINATOR_FORBIDDEN: asks,
  COORDINATOR_CONFLICT: failed,
  COORDINATOR_REFUSED: failed,
  COORDINATOR_NOT_FOUND: failed,
  CLOCK_SKEWED: failed,
  STAKE_INSUFFICIENT: asks,
  TASK_NOT_FOUND: stopped,
  TASK_NOT_LIVE: stopped,
  TASK_UNSUPPORTED: stopped,
  ONBOARDING_CONTRADICTION: asks,
  SURFACE_UNCLEAR: stopped,
  CLAIM_EXPIRED: failed,
  CLAIM_NOT_ACTIVE: failed,
  SUBMISSION_REJECTED: failed,
  SUBMISSION_ERRORED: asks,
  SUBMISSION_UNDECIDED: asks,
  SUBMISSION_DIFFERS: failed,
  SUBMISSION_LIMIT: stopped,
  EFFECT_SETTLING: asks,
  EFFECTS_HELD: asks,
  EFFECT_UNKNOWN: asks,

  // Repository and workspace
  REPOSITORY_REFUSED: failed,
  REPOSITORY_UNAVAILABLE: transient,
  REF_NOT_FOUND: failed,
  WORKSPACE_CHANGED: failed,
  EDIT_NOT_APPLICABLE: failed,
  PATCH_EMPTY: failed,
  PATCH_TOO_LARGE: failed,
  PATCH_OUTSIDE_SURFACE: failed,
  PATCH_UNUSABLE: failed,

  // Programs
  PROGRAM_FAILED: transient,
  PROGRAM_UNUSABLE: failed,
  PROGRAM_LOST: restarts,
  PROGRAM_PAUSED: restarts,
  PROGRAM_TAKEN_OVER: transient,
  PROGRAM_TIMEOUT: failed,
  PROGRAM_STALLED: transient,
  PROGRAM_OUT_OF_MEMORY: transient,
  PROGRAM_KILLED: failed,
  DEVICE_MISSING: failed,
  HOST_UNAVAILABLE: transient,
  HOST_UNUSABLE: failed,
  HOST_BUSY: failed,
  SETUP_FAILED: failed,
  OUTPUT_MISSING: failed,
  BENCHMARK_REJECTED: failed,
  BENCHMARK_FAILED: failed,
  METRIC_MISSING: failed,
  METRIC_NOT_FINITE: failed,
  NO_CANDIDATE: stopped,

  // Artifact and gate
  ARTIFACT_HOST_UNAVAILABLE: transient,
  ARTIFACT_UNSUITABLE: asks,
  ARTIFACT_CHANGED: stopped,
  GATE_NOT_PASSED: stopped,

  // Rewards
  POOL_UNAVAILABLE: transient,
  POOL_REPLY_INVALID: failed,
  PROOF_NOT_PUBLISHED: failed,
  PROOF_ROOT_UNAVAILABLE: failed,
  PROOF_INVALID: failed,
  PROOF_PROFILE_UNKNOWN: failed,
  PROOF_RECIPIENT_MISMATCH: failed,
} as const satisfies Record<string, StepErrorRule>;

export type StepErrorCode = keyof typeof STEP_ERRORS;

/** True for a code of the table above; a text from a plan or a history may be something else. */
export function isStepErrorCode(code: string): code is StepErrorCode {
  return Object.hasOwn(STEP_ERRORS, code);
}

/** True for a code that parks the step until a person has decided. */
export function asksPerson(code: string): boolean {
  return isStepErrorCode(code) && STEP_ERRORS[code].ends === 'asks';
}

/** True for a code after which the next start begins at once, and which counts as no try. */
export function restartsStep(code: string): boolean {
  return isStepErrorCode(code) && 'restart' in STEP_ERRORS[code];
}

/** What a person or a program is told about a failure. Never holds a secret. */
export interface ErrorReport {
  /** A step error code; `STOPPED` for a `stop` step, `INTERNAL` for a failure that is a bug. */
  readonly code: string;
  /** What happened, with the values. */
  readonly message: string;
  /** What to do next. */
  readonly hint?: string;
  /** Path of the step, when a step is to blame. */
  readonly step?: string;
}

/**
 * The outside world said no. Thrown by adapters and step types, translated once at the activity boundary.
 * Neither message nor hint may hold a secret: both are stored in the history.
 */
export class StepError extends Error {
  readonly code: StepErrorCode;
  readonly hint: string | undefined;
  /** How long the other side asked us to wait before the next try, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** Until when a person may be waited for, in milliseconds since the epoch; absent: without end. */
  readonly askUntilMs: number | undefined;

  constructor(
    code: StepErrorCode,
    message: string,
    options: { hint?: string; retryAfterMs?: number; askUntilMs?: number; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'StepError';
    this.code = code;
    this.hint = options.hint;
    this.retryAfterMs = options.retryAfterMs;
    this.askUntilMs = options.askUntilMs;
  }
}

/**
 * Not an error: what the step waits for is not there yet. Temporal calls the activity again after
 * `afterMs`, with no event in the history, until the step's `timeout`.
 */
export class NotYet extends Error {
  /** Milliseconds until the next look; at least one second. */
  readonly afterMs: number;
  /** The step error that the wait ends with when the step's timeout has passed. */
  readonly code: StepErrorCode;
  /** Until when a person may be asked about that error, as in StepError. */
  readonly askUntilMs: number | undefined;

  constructor(code: StepErrorCode, message: string, afterMs: number, askUntilMs?: number) {
    super(message);
    this.name = 'NotYet';
    this.code = code;
    this.afterMs = afterMs;
    this.askUntilMs = askUntilMs;
  }
}

/** True for the system's error that a disk, or a quota on it, is full. */
export function isDiskFull(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** The message of whatever was thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
