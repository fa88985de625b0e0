/** Exit codes of every command; they are public. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  stopped: 3,
  cancelled: 4,
  noServer: 5,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** A command cannot do what it was asked for: printed as it is, without a stack. */
export class CliFailure extends Error {
  readonly code: string;
  readonly hint: string;
  readonly exitCode: ExitCode;

  constructor(code: string, message: string, options: { hint?: string; exitCode?: ExitCode } = {}) {
    super(message);
    this.name = 'CliFailure';
    this.code = code;
    this.hint = options.hint ?? '';
    this.exitCode = options.exitCode ?? EXIT.failed;
  }
}

/** The command line is wrong: USAGE, exit code 2. */
export function usage(message: string, hint: string): CliFailure {
  return new CliFailure('USAGE', message, { hint, exitCode: EXIT.usage });
}

export interface PrintedFailure {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly exitCode: ExitCode;
}

/** Errors of other modules that are meant for people, by class name: naming the classes would load their modules. */
const EXIT_CODE_OF: { readonly [name: string]: ExitCode } = {
  SettingsError: EXIT.usage,
  TemporalServerError: EXIT.noServer,
  StepError: EXIT.failed,
};

/** What is printed for anything thrown. An error that nobody meant for people is a defect of Adit, and says so. */
export function toPrintedFailure(error: unknown): PrintedFailure {
  if (error instanceof CliFailure) {
    const { code, message, hint, exitCode } = error;
    return { code, message, hint, exitCode };
  }
  if (error instanceof Error) {
    const exitCode = EXIT_CODE_OF[error.name];
    if (exitCode !== undefined) {
      const { code, hint } = error as { code?: unknown; hint?: unknown };
      return {
        code: typeof code === 'string' ? code : 'SETTINGS_INVALID',
        message: error.message,
        hint: typeof hint === 'string' ? hint : '',
        // A configuration that cannot be read names no server at all.
        exitCode: code === 'TEMPORAL_PROFILE_INVALID' ? EXIT.usage : exitCode,
      };
    }
    if (isLostServer(error)) {
      return {
        code: 'SERVER_UNREACHABLE',
        message: `The Temporal server does not answer any more: ${error.message}`,
        hint: 'Runs are safe on the server; try again when it is back.',
        exitCode: EXIT.noServer,
      };
    }
  }
  return {
    code: 'INTERNAL',
    message: `Unexpected: ${error instanceof Error ? error.message : String(error)}`,
    hint: 'This is a defect of Adit; set ADIT_DEBUG=1 to see where it happened, and report it.',
    exitCode: EXIT.failed,
  };
}

/** gRPC status of a server that is away (UNAVAILABLE) or too slow (DEADLINE_EXCEEDED). */
export function isLostServer(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const { code, details } = at as { code?: unknown; details?: unknown };
    if (typeof details === 'string' && (code === 14 || code === 4)) return true;
  }
  return false;
}
