import { open } from 'node:fs/promises';
import { STEP_TYPES } from '../activities/registry.js';
import { compilePipeline, type Compiled } from '../compiler/compile.js';
import { printDiagnostic } from '../compiler/diagnostic.js';
import { MAX_FILE_BYTES } from '../compiler/yaml.js';
import { CliFailure, EXIT, type ExitCode } from './failure.js';
import { clean, note, paint, print, printJson } from './output.js';

/** Checks files and prints all that is wrong with them; the exit code is 2 when something is. */
export async function checkFiles(
  files: readonly string[],
  options: { readonly json: boolean },
): Promise<ExitCode> {
  const checked: Compiled[] = [];
  for (const file of files) {
    checked.push(
      compilePipeline(await readPipelineFile(file), file === '-' ? '<stdin>' : file, STEP_TYPES),
    );
  }
  const diagnostics = checked.flatMap((one) => one.diagnostics);
  const ok = diagnostics.length === 0;
  if (options.json) {
    printJson({ ok, diagnostics });
  } else {
    for (const { source, diagnostics: found } of checked) {
      for (const diagnostic of found) print(`${printDiagnostic(diagnostic, source, paint)}\n`);
      if (found.length === 0) print(`${paint.green('ok')} ${clean(source.file)}`);
    }
    if (!ok) {
      const wrong = checked.filter((one) => one.diagnostics.length > 0).length;
      note(
        `${plural(diagnostics.length, 'mistake')} in ${plural(wrong, 'file')}; docs/diagnostics.md explains each code`,
      );
    }
  }
  return ok ? EXIT.done : EXIT.usage;
}

/** The bytes of a file, or of standard input for `-`; of a larger one just enough for the compiler to refuse it. */
async function readPipelineFile(file: string): Promise<Uint8Array> {
  if (file === '-') return readStandardInput();
  try {
    const handle = await open(file);
    try {
      const { size } = await handle.stat();
      // Its true size is what the message tells, so a large file is not read but stood for.
      if (size > MAX_FILE_BYTES) return new Uint8Array(Math.min(size, 2 ** 30));
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw unreadable(file, error);
  }
}

async function readStandardInput(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of process.stdin) {
    const bytes = Buffer.from(chunk as Buffer);
    chunks.push(bytes);
    sizeBytes += bytes.length;
    if (sizeBytes > MAX_FILE_BYTES) break;
  }
  return Buffer.concat(chunks);
}

function unreadable(file: string, error: unknown): CliFailure {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const reason =
    code === 'ENOENT'
      ? 'there is no such file'
      : code === 'EISDIR'
        ? 'it is a directory'
        : error instanceof Error
          ? error.message
          : String(error);
  return new CliFailure(
    'FILE_UNREADABLE',
    `The pipeline file ${clean(file)} cannot be read: ${reason}.`,
    {
      hint: 'Correct the path.',
      exitCode: EXIT.usage,
    },
  );
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}
