/** What the host says of the end of a program: a result that the step may judge, or an error with its own code. */
import { describeOutput } from '../../core/describe-output.js';
import { StepError } from '../../core/error.js';
import type {
  EndReason,
  ProgramEnd,
  ProgramFiles,
  ProgramLimits,
  ProgramWatch,
} from '../../core/host-protocol.js';
import { readTail } from '../../host/output-reader.js';

/** How a program ended. The shell tells a signal as 128 + its number, so a program that exits so looks signalled. */
export type ProgramExit =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: string };

export interface EndedProgram {
  /** Of a program that was stopped: what it made of that. */
  readonly exit: ProgramExit;
  /** Why the host ended it, well: its rule was met, or its run's deadline came near. Absent: it ended by itself. */
  readonly stoppedBy?: 'rule' | 'deadline';
  readonly files: ProgramFiles;
  /** The last few KiB of its output, known secrets masked. */
  readonly tail: string;
  /** The last value of each number that it reported. */
  readonly metrics: { readonly [name: string]: number };
  /** True when an earlier attempt had started it: this one followed it, or took its result. */
  readonly adopted: boolean;
}

const TAIL_BYTES = 8 * 1024;

/** Throws the error that the end of the program stands for, where it is none that the step can judge. */
export async function toEndedProgram(
  end: ProgramEnd,
  {
    files,
    adopted,
    options,
    mask,
  }: {
    readonly files: ProgramFiles;
    readonly adopted: boolean;
    readonly options: {
      readonly limits: ProgramLimits;
      readonly watch?: ProgramWatch;
      readonly signal: AbortSignal;
    };
    readonly mask: (text: string) => string;
  },
): Promise<EndedProgram> {
  const tail = mask(await readTail(files.log, TAIL_BYTES));
  const fail = (
    code: ConstructorParameters<typeof StepError>[0],
    message: string,
    wayOut: string,
  ): StepError =>
    new StepError(code, message, { hint: `${wayOut} ${describeOutput(tail, files.log)}` });
  const ended = { exit: toExit(end), files, tail, metrics: end.metrics, adopted };

  switch (end.cause) {
    case 'exited':
    case 'signalled':
      return ended;
    case 'rule':
    case 'deadline':
      return { ...ended, stoppedBy: end.cause };
    case 'outOfMemory':
      throw fail(
        'PROGRAM_OUT_OF_MEMORY',
        'The program was killed by the kernel for want of memory.',
        'Let it use less, or run less beside it.',
      );
    case 'limit':
      throw fail(
        'PROGRAM_TIMEOUT',
        `The program did not end within the time of its step${ofTime(options.limits.stepMs)}, and was ended.`,
        'Give the step a longer `timeout`; `adit retry` goes on from its checkpoint.',
      );
    case 'startLimit':
      throw fail(
        'ATTEMPT_TIMEOUT',
        `The program did not end within the time of one try${ofTime(options.limits.startMs)}, and was ended.`,
        'Give the step a longer `attempt_timeout`.',
      );
    case 'stalled':
      throw fail(
        'PROGRAM_STALLED',
        `The program wrote neither output nor metrics for ${seconds(2 * (options.watch?.stalledAfterMs ?? 0))}, and was ended.`,
        'It hung; where it may be silent for longer, give a longer `stalled_after`.',
      );
    case 'requested':
      // Whoever asked for the end may have aborted us as well: then that is the reason.
      options.signal.throwIfAborted();
      throw toRequested(end.reason, fail);
    case 'lost':
      throw fail(
        'PROGRAM_LOST',
        'The program is gone and did not record how it ended.',
        'It and its shim were killed, or the machine was started anew. A new start goes on from its checkpoint.',
      );
  }
}

function toRequested(
  reason: EndReason | undefined,
  fail: (
    code: 'PROGRAM_PAUSED' | 'PROGRAM_KILLED' | 'PROGRAM_LOST',
    message: string,
    wayOut: string,
  ) => StepError,
): StepError {
  switch (reason) {
    case 'paused':
      return fail(
        'PROGRAM_PAUSED',
        'The program was ended because its step was paused.',
        'The next start goes on from its checkpoint.',
      );
    case 'killed':
      return fail(
        'PROGRAM_KILLED',
        'The program was ended by a person.',
        'Start the run again with `adit retry`; it goes on from its checkpoint.',
      );
    default:
      return fail(
        'PROGRAM_LOST',
        `The program was ended (${reason ?? 'for no given reason'}) before this attempt.`,
        'A new start goes on from its checkpoint.',
      );
  }
}

function toExit({ code, signal }: ProgramEnd): ProgramExit {
  // Neither is known of one that did not end by itself after a TERM.
  return code === undefined
    ? { kind: 'signalled', signal: signal ?? 'SIGKILL' }
    : { kind: 'exited', code };
}

function ofTime(ms: number | null | undefined): string {
  return ms === null || ms === undefined ? '' : ` (${seconds(ms)})`;
}

function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}
