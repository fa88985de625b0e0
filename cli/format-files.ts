import { randomUUID } from 'node:crypto';
import { access, constants, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { printDiagnostic } from '../compiler/diagnostic.js';
import { CliFailure, EXIT, type ExitCode } from './failure.js';
import { formatText, type Formatted } from './format-text.js';
import { clean, note, paint, print, printJson } from './output.js';
import { STANDARD_INPUT } from './pipeline-files.js';
import { readPipelineFile } from './read-file.js';

/**
 * Formats files in place, or standard input to standard output; with `check` it changes nothing, and the exit code is 1
 * when something would be. Every file is read before the first is written.
 */
export async function formatFiles(
  files: readonly string[],
  options: { readonly check: boolean; readonly json: boolean },
): Promise<ExitCode> {
  const read: { file: string; content: Uint8Array; result: Formatted }[] = [];
  for (const file of new Set(files)) {
    const content = await readPipelineFile(file, 'The file');
    const result = await formatText(content, file === '-' ? STANDARD_INPUT : file);
    read.push({ file, content, result });
  }
  if (!options.check) {
    for (const { file, content, result } of read)
      if (result.kind === 'formatted' && result.changed && file !== '-')
        await replaceFile(file, content, result.text);
  }
  if (options.json) printJson(toJson(read));
  else for (const { file, result } of read) report(file, result, options.check);
  if (read.some(({ result }) => result.kind !== 'formatted')) return EXIT.usage;
  const isChanged = read.some(({ result }) => result.kind === 'formatted' && result.changed);
  return options.check && isChanged ? EXIT.failed : EXIT.done;
}

function toJson(read: readonly { readonly file: string; readonly result: Formatted }[]): object {
  return {
    ok: read.every(({ result }) => result.kind === 'formatted'),
    files: read.map(({ file, result }) => ({
      file: file === '-' ? STANDARD_INPUT : file,
      changed: result.kind === 'formatted' && result.changed,
      diagnostics: result.kind === 'invalid' ? result.diagnostics : [],
      refused: result.kind === 'refused' ? result.reason : null,
      ...(file === '-' && result.kind === 'formatted' ? { text: result.text } : {}),
    })),
  };
}

function report(file: string, result: Formatted, check: boolean): void {
  const name = clean(file === '-' ? STANDARD_INPUT : file);
  if (result.kind === 'invalid') {
    for (const diagnostic of result.diagnostics)
      note(`${printDiagnostic(diagnostic, result.source)}\n`);
  } else if (result.kind === 'refused') {
    note(`${name} is left as it is: ${clean(result.reason)}.`);
  } else if (check) {
    if (result.changed) print(`${paint.yellow('not formatted')} ${name}`);
  } else if (file === '-') {
    process.stdout.write(result.text);
  } else if (result.changed) {
    print(`${paint.green('formatted')} ${name}`);
  }
}

/** The whole file or the old one, whatever happens: through links, with the rights that it had. */
async function replaceFile(file: string, content: Uint8Array, text: string): Promise<void> {
  const target = await realpath(file);
  const temporary = path.join(path.dirname(target), `.${path.basename(target)}.${randomUUID()}`);
  try {
    const { mode } = await stat(target);
    // A file that may not be written could still be replaced.
    await access(target, constants.W_OK);
    const handle = await open(temporary, 'wx', mode);
    try {
      await handle.writeFile(text);
      // What `open` makes is narrowed by the umask.
      await handle.chmod(mode);
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (!(await readFile(target)).equals(content))
      throw new CliFailure('FILE_MODIFIED', `${clean(file)} was changed while it was formatted.`, {
        hint: 'It is left as it is; run the command again.',
      });
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    if (error instanceof CliFailure) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new CliFailure('FILE_UNWRITABLE', `${clean(file)} cannot be written: ${clean(reason)}`, {
      hint: 'It is left as it is. `adit fmt - < FILE` prints it formatted.',
    });
  }
}
