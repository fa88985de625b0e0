import { once } from 'node:events';
import type { RecordedStart } from '../adapters/processes/recorded-starts.js';
import { createSecretMask } from './mask-secrets.js';
import { clean, note } from './output.js';
import { createPrintableOutput } from './printable-output.js';
import type { LogPart } from './read-log.js';

interface OutputTarget {
  readonly stream: NodeJS.WriteStream;
  readonly secrets: readonly string[];
  /** True: bytes as they are, also at a terminal. */
  readonly raw: boolean;
}

/** Prints one output to its end: secrets masked, and at a terminal made harmless; what is left out is said in its place. */
export async function printOutput(
  parts: AsyncIterable<LogPart>,
  { stream, secrets, raw }: OutputTarget,
): Promise<void> {
  const harmless = stream.isTTY && !raw;
  let mask = createSecretMask(secrets);
  let printable = createPrintableOutput();
  const show = (bytes: Buffer): Promise<void> =>
    write(stream, harmless ? printable.push(bytes) : bytes);
  const finish = async (): Promise<void> => {
    await show(mask.end());
    if (harmless) await write(stream, printable.end());
  };
  for await (const part of parts) {
    if (part.kind === 'bytes') await show(mask.push(part.bytes));
    else if (part.kind === 'idle') await show(mask.settle());
    else {
      await finish();
      mask = createSecretMask(secrets);
      printable = createPrintableOutput();
      const words = `… ${part.leftOut} bytes left out …`;
      await write(stream, `\n${words}\n`);
      note(words);
    }
  }
  await finish();
}

/** The head line of a program: stderr, so that what is piped is the output alone. */
export function noteHead({ stepPath, start, startedAtMs }: RecordedStart): void {
  const at = new Date(startedAtMs).toISOString().slice(0, 19).replace('T', ' ');
  note(`── ${clean(stepPath)}, start ${start}, ${at} ──`);
}

async function write(stream: NodeJS.WriteStream, data: Buffer | string): Promise<void> {
  if (data.length > 0 && !stream.write(data)) await once(stream, 'drain');
}
