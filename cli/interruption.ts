import { CliFailure, EXIT } from './failure.js';

export interface Interruption {
  /** Aborted by the first Ctrl-C or TERM; its reason is a failure with exit code 130. */
  readonly signal: AbortSignal;
  /** Back to what the signals do by themselves. */
  dispose(): void;
}

/**
 * Turns Ctrl-C and TERM into an abort, so that a command can leave in order. A second one ends it at once, with
 * the same hint; what it leaves running is ended by the next command of its kind.
 */
export function listenForInterruption(hint: () => string): Interruption {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (!controller.signal.aborted) {
      controller.abort(
        new CliFailure('INTERRUPTED', 'Interrupted.', { hint: hint(), exitCode: EXIT.interrupted }),
      );
      return;
    }
    process.stderr.write(`${hint()}\n`);
    process.exit(EXIT.interrupted);
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal);
  return {
    signal: controller.signal,
    dispose: () => {
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(name, onSignal);
    },
  };
}
