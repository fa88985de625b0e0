import { STEP_TYPES } from '../activities/registry.js';
import { compilePipeline, type CompiledFile } from '../compiler/compile.js';
import { printDiagnostic } from '../compiler/diagnostic.js';
import { compileTestFile, isTestFile, type CompiledTests } from '../testing/compile-test-file.js';
import { isRehearsalFile } from '../testing/rehearsal-file.js';
import { CliFailure, EXIT, type ExitCode } from './failure.js';
import { clean, note, paint, print, printJson } from './output.js';
import { namedFileReader } from './read-named-file.js';
import { checkRehearsal } from './rehearsal/check-rehearsal.js';
import { filesOnDisk, STANDARD_INPUT } from './pipeline-files.js';
import { readPipelineFile } from './read-file.js';

/** Checks files and prints all that is wrong with them; the exit code is 2 when something is. Warnings alone are no reason, unless they are denied. */
export async function checkFiles(
  files: readonly string[],
  options: { readonly json: boolean; readonly denyWarnings: boolean },
): Promise<ExitCode> {
  const told = new Set<string | null>();
  const checked: Pick<CompiledFile, 'source' | 'diagnostics'>[] = [];
  const unreadable: CliFailure[] = [];
  for (const file of files) {
    const name = file === '-' ? STANDARD_INPUT : file;
    const content = await readOrNote(file, unreadable);
    if (content === null) continue;
    if (isTestFile(file)) {
      checked.push(...checkTests(content, file));
      continue;
    }
    if (isRehearsalFile(file)) {
      checked.push(...checkRehearsal(content, file));
      continue;
    }
    const [own, ...called] = compilePipeline(content, name, STEP_TYPES, filesOnDisk).files;
    // What a file calls is told where it is first called, or by its own name where that came before.
    for (const one of own === undefined ? [] : [own, ...called.filter(hasMistake)]) {
      if (one.identity !== null && told.has(one.identity)) continue;
      told.add(one.identity);
      checked.push(one);
    }
  }
  const diagnostics = checked.flatMap((one) => one.diagnostics);
  const warnings = diagnostics.filter(({ severity }) => severity === 'warning').length;
  const mistakes = diagnostics.length - warnings;
  const ok = mistakes === 0 && (warnings === 0 || !options.denyWarnings);
  if (options.json) {
    if (unreadable.length > 0) throw asOne(unreadable);
    printJson({ ok, diagnostics });
  } else {
    for (const { source, diagnostics: found } of checked) {
      for (const diagnostic of found) print(`${printDiagnostic(diagnostic, source, paint)}\n`);
      const isWrong = found.some(({ severity }) => options.denyWarnings || severity === 'error');
      if (!isWrong) print(`${paint.green('ok')} ${clean(source.file)}`);
    }
    if (diagnostics.length > 0) {
      const withSome = checked.filter((one) => one.diagnostics.length > 0).length;
      const counts = [
        ...(mistakes === 0 ? [] : [plural(mistakes, 'mistake')]),
        ...(warnings === 0 ? [] : [plural(warnings, 'warning')]),
      ];
      note(
        `${counts.join(' and ')} in ${plural(withSome, 'file')}; docs/diagnostics.md explains each code`,
      );
    }
  }
  if (unreadable.length > 0) throw asOne(unreadable);
  return ok ? EXIT.done : EXIT.usage;
}

/** Null, and a failure more, for a file that cannot be read: the others are checked all the same. */
export async function readOrNote(
  file: string,
  unreadable: CliFailure[],
): Promise<Uint8Array | null> {
  try {
    return await readPipelineFile(file, wordsFor(file));
  } catch (error) {
    if (!(error instanceof CliFailure)) throw error;
    unreadable.push(error);
    return null;
  }
}

/** What is told of files that cannot be read. */
export function asOne(failures: readonly CliFailure[]): CliFailure {
  const messages = failures.map(({ message }) => message);
  const hints = [...new Set(failures.map(({ hint }) => hint))];
  return new CliFailure('FILE_UNREADABLE', messages.join('\n'), {
    hint: hints.join('\n'),
    exitCode: EXIT.usage,
  });
}

/** What is wrong with a test file, and with the pipeline that it names. */
function checkTests(content: Uint8Array, file: string): CompiledTests['mistakes'] {
  const { mistakes, source } = compileTestFile(
    content,
    file,
    STEP_TYPES,
    namedFileReader(file),
    filesOnDisk,
  );
  return mistakes.length === 0 ? [{ source, diagnostics: [] }] : mistakes;
}

function hasMistake({ diagnostics }: CompiledFile): boolean {
  return diagnostics.length > 0;
}

/** What a file is, for an error about it. */
function wordsFor(file: string): string {
  if (isRehearsalFile(file)) return 'The rehearsal file';
  return isTestFile(file) ? 'The test file' : 'The pipeline file';
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}
