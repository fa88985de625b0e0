/** What a start that the system refused is to be called. */
import { errorMessage, isDiskFull, StepError } from '../core/error.js';
import { plainText } from '../core/plain-text.js';

/** DISK_FULL where no space is left, HOST_UNAVAILABLE for another failure of the disk; the rest as it is. */
export function toStartError(error: unknown): Error {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (isDiskFull(error)) {
    return new StepError('DISK_FULL', 'No space is left for the records of a program.', {
      hint: 'Free some space on the disk of the state folder, `adit prune` for example, then retry the run.',
      cause: error,
    });
  }
  if (!(error instanceof StepError) && code !== undefined && syscall !== undefined) {
    return new StepError(
      'HOST_UNAVAILABLE',
      `The process host could not write the records of a program: ${plainText(errorMessage(error), 200)}`,
      { hint: 'Nothing was started. Look at the disk of the state folder.', cause: error },
    );
  }
  return error instanceof Error ? error : new Error(errorMessage(error));
}
