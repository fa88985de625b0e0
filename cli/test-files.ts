/** `adit test`: compiles test files, runs their tests, and prints how they went. */
import { statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { STEP_TYPES } from '../activities/registry.js';
import { printDiagnostic } from '../compiler/diagnostic.js';
import { errorMessage } from '../core/error.js';
import { compileTestFile, isTestFile } from '../testing/compile-test-file.js';
import { toJUnit } from '../testing/junit.js';
import { printFailedTest, toJsonReport, type FileReport } from '../testing/report.js';
import { runTest, type TestResult } from '../testing/run-test.js';
import { asOne, readOrNote } from './check-files.js';
import type { TestOptions } from './commands/test.js';
import { CliFailure, EXIT, type ExitCode } from './failure.js';
import { clean, note, paint, print, printJson } from './output.js';
import { filesOnDisk } from './pipeline-files.js';
import { namedFileReader } from './read-named-file.js';

/** Exit code 1 when a test fails, 2 when a file has mistakes or no test has the name that is asked for. */
export async function testFiles(given: readonly string[], options: TestOptions): Promise<ExitCode> {
  // Patterns of a shell may name a file twice.
  const files = [...new Map(given.map((file) => [path.resolve(file), file])).values()];
  for (const file of files) assertTestFile(file);
  if (options.watch !== true) return (await testOnce(files, options)).exitCode;
  const { watchTests } = await import('./watch-tests.js');
  return watchTests(files, () => testOnce(files, options));
}

/** A pipeline is not a test file, and its author most likely means the one beside it. */
function assertTestFile(file: string): void {
  if (isTestFile(file)) return;
  if (statSync(file, { throwIfNoEntry: false })?.isDirectory() === true) {
    throw new CliFailure('USAGE', `${clean(file)} is a folder.`, {
      hint: `Name test files in it, such as ${clean(path.join(file, '*.test.yaml'))}.`,
      exitCode: EXIT.usage,
    });
  }
  const beside = file.replace(/\.(ya?ml)$/, '.test.$1');
  throw new CliFailure(
    'USAGE',
    `${clean(file)} is no test file: its name does not end in .test.yaml.`,
    {
      hint: beside === file ? 'Name a test file.' : `Its tests would be in ${clean(beside)}.`,
      exitCode: EXIT.usage,
    },
  );
}

export interface Tested {
  readonly exitCode: ExitCode;
  /** Every file that was read, the pipelines among them. */
  readonly files: readonly string[];
}

async function testOnce(files: readonly string[], options: TestOptions): Promise<Tested> {
  const reports: FileReport[] = [];
  const read = new Set(files);
  const unreadable: CliFailure[] = [];
  for (const file of files) {
    const content = await readOrNote(file, unreadable);
    if (content === null) continue;
    const { report, files: named } = await testFile(file, content, options.filter);
    reports.push(report);
    for (const name of named) read.add(name);
  }
  if (unreadable.length > 0 && (options.json === true || reports.length === 0))
    throw asOne(unreadable);
  const results = reports.flatMap((report) => report.results);
  const failed = results.filter(({ failures }) => failures.length > 0).length;
  const mistakes = reports.flatMap((report) => report.mistakes);
  const hasTests = results.length > 0 || mistakes.length > 0;
  if (!hasTests) throw noSuchTest(options.filter ?? '');
  if (options.json === true) {
    const ok = failed === 0 && mistakes.length === 0;
    printJson({ ok, passed: results.length - failed, failed, files: reports.map(toJsonReport) });
  } else printReports(reports, results.length - failed, failed);
  if (unreadable.length > 0) throw asOne(unreadable);
  if (options.junit !== undefined) await writeJUnit(options.junit, reports);
  const exitCode = mistakes.length > 0 ? EXIT.usage : failed > 0 ? EXIT.failed : EXIT.done;
  return { exitCode, files: [...read] };
}

function noSuchTest(filter: string): CliFailure {
  return new CliFailure('USAGE', `No test has "${clean(filter)}" in its name.`, {
    hint: 'Without --filter all are run; --json lists them.',
    exitCode: EXIT.usage,
  });
}

async function testFile(
  file: string,
  content: Uint8Array,
  filter: string | undefined,
): Promise<{ report: FileReport; files: readonly string[] }> {
  const beganMs = performance.now();
  const compiled = compileTestFile(content, file, STEP_TYPES, namedFileReader(file), filesOnDisk);
  const results: TestResult[] = [];
  const wanted = filter?.toLowerCase() ?? '';
  for (const test of compiled.file?.tests ?? []) {
    if (compiled.file === null || !test.name.toLowerCase().includes(wanted)) continue;
    results.push(await runTest(compiled.file, test));
  }
  const { source, mistakes, files } = compiled;
  return {
    report: { file, source, mistakes, results, tookMs: performance.now() - beganMs },
    files,
  };
}

function printReports(reports: readonly FileReport[], passed: number, failed: number): void {
  // A pipeline that many files test is told of once.
  const told = new Map(
    reports.flatMap(({ mistakes }) => mistakes.map((one) => [one.source.file, one] as const)),
  );
  const mistakes = [...told.values()].flatMap(({ source, diagnostics }) =>
    diagnostics.map((diagnostic) => printDiagnostic(diagnostic, source, paint)),
  );
  for (const mistake of mistakes) print(`${mistake}\n`);
  for (const { file, source, results } of reports) {
    const wrong = results.filter(({ failures }) => failures.length > 0);
    for (const result of wrong) {
      print(`${paint.red('FAILED')} ${paint.bold(clean(result.test.name))}`);
      print(`${printFailedTest(result, source, paint)}\n`);
    }
    if (wrong.length === 0 && results.length > 0)
      print(`${paint.green('ok')} ${clean(file)}: ${plural(results.length, 'test')}`);
  }
  const parts = [
    `${passed} passed`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(mistakes.length > 0 ? [plural(mistakes.length, 'mistake')] : []),
  ];
  const tookMs = reports.reduce((sum, report) => sum + report.tookMs, 0);
  note(`${parts.join(', ')} (${(tookMs / 1_000).toFixed(2)} s)`);
}

async function writeJUnit(file: string, reports: readonly FileReport[]): Promise<void> {
  try {
    await writeFile(file, toJUnit(reports));
  } catch (error) {
    throw new CliFailure(
      'FILE_UNWRITABLE',
      `The results cannot be written: ${errorMessage(error)}`,
      {
        hint: 'Correct the path of --junit.',
        exitCode: EXIT.usage,
      },
    );
  }
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}
