/**
 * Reads and places files of a checkout that commands have written to: a link may stand anywhere, so each
 * path is resolved before it is believed.
 */
import { constants } from 'node:fs';
import { copyFile, mkdir, open, realpath } from 'node:fs/promises';
import path from 'node:path';
import { errorMessage, StepError } from '../../core/error.js';
import { plainText } from '../../core/plain-text.js';
import { clearWay, removeInside } from './checkout-content.js';
import { isCheckoutPath } from './repository-address.js';

export interface CheckoutFiles {
  /**
   * The bytes of a regular file; null when there is none. Throws WORKSPACE_CHANGED when the path leads
   * out of the checkout, is no regular file, or the file is larger than `maxBytes`.
   */
  read(checkout: string, file: string, maxBytes: number): Promise<Buffer | null>;
  /** Removes a file or folder; a link is removed, not followed. */
  remove(checkout: string, file: string): Promise<void>;
  /** Copies a file into the checkout, in place of whatever stands there. */
  place(checkout: string, file: string, source: string): Promise<void>;
}

export const checkoutFiles: CheckoutFiles = {
  async read(checkout, file, maxBytes) {
    assertCheckoutPath(file);
    const absolute = await realpath(path.join(checkout, file)).catch(() => null);
    if (absolute === null) return null;
    if (!absolute.startsWith(`${await realpath(checkout)}${path.sep}`)) {
      throw new StepError(
        'WORKSPACE_CHANGED',
        `${file} leads out of the workspace, to ${plainText(absolute, 200)}.`,
      );
    }
    // NONBLOCK: opening a named pipe would otherwise wait for a writer for ever.
    const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
    const handle = await open(absolute, flags).catch((error: unknown) => {
      const reason = (error as NodeJS.ErrnoException).code ?? errorMessage(error);
      throw new StepError('WORKSPACE_CHANGED', `${file} cannot be read (${reason}).`);
    });
    try {
      const { size, isFile } = await handle
        .stat()
        .then((s) => ({ size: s.size, isFile: s.isFile() }));
      if (!isFile) throw new StepError('WORKSPACE_CHANGED', `${file} is no regular file.`);
      if (size > maxBytes) {
        throw new StepError(
          'WORKSPACE_CHANGED',
          `${file} has ${size} bytes; at most ${maxBytes} are read.`,
        );
      }
      const bytes = Buffer.alloc(size);
      const { bytesRead } = await handle.read(bytes, 0, size, 0);
      return bytes.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  },

  async remove(checkout, file) {
    assertCheckoutPath(file);
    await removeInside(checkout, file);
  },

  async place(checkout, file, source) {
    assertCheckoutPath(file);
    const absolute = await clearWay(checkout, file);
    await mkdir(path.dirname(absolute), { recursive: true });
    await copyFile(source, absolute, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  },
};

function assertCheckoutPath(file: string): void {
  if (isCheckoutPath(file)) return;
  throw new StepError(
    'REPOSITORY_REFUSED',
    `${plainText(JSON.stringify(file), 200)} is no path inside a checkout.`,
    {
      hint: 'Paths are relative to the repository root, without `..`.',
    },
  );
}
