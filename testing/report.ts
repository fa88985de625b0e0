/** How the tests of a file went: for people, and as plain JSON. */
import {
  Diagnostics,
  printDiagnostic,
  type Diagnostic,
  type Source,
  type Style,
} from '../compiler/diagnostic.js';
import { formatDuration } from '../core/duration.js';
import type { Json } from '../core/json.js';
import type { StepState } from '../core/run-state.js';
import type { TestResult } from './run-test.js';
import type { TestCase, TestFailure } from './test-file.js';

/** The tests of one file: those that were run, or what is wrong with the file. */
export interface FileReport {
  readonly file: string;
  readonly source: Source;
  readonly mistakes: readonly {
    readonly source: Source;
    readonly diagnostics: readonly Diagnostic[];
  }[];
  readonly results: readonly TestResult[];
  /** Real time, in milliseconds. */
  readonly tookMs: number;
}

/** Most steps that are shown of a test: its beginning and its end. */
const MAX_FIRST_STEPS = 60;
const MAX_LAST_STEPS = 40;

/** A failure with its place; the code is no code of the compiler. */
type Placed = Omit<Diagnostic, 'code'> & { readonly code: string };

const CODES: { readonly [kind in TestFailure['kind']]: string } = {
  assertion: 'NOT_AS_EXPECTED',
  stub: 'STUB',
  decision: 'DECISION',
  approval: 'APPROVAL',
  defect: 'INTERNAL',
};

export function placeFailure({ kind, message, range }: TestFailure, source: Source): Placed {
  const diagnostics = new Diagnostics(source);
  diagnostics.add('VALUE_INVALID', range, message);
  const [placed] = diagnostics.list();
  if (placed === undefined) throw new Error('A diagnostic was lost.');
  return { ...placed, code: CODES[kind] };
}

/** A test that failed, for people: each failure at its place, and the steps as they went. */
export function printFailedTest(result: TestResult, source: Source, style?: Style): string {
  const failures = result.failures.map((failure) => {
    const placed = placeFailure(failure, source);
    const indent = ' '.repeat(String(placed.line).length);
    return [
      printDiagnostic(placed, source, style),
      ...failure.details.map((line) => `${indent} = ${clip(line)}`),
    ].join('\n');
  });
  return [...failures, ['  the steps as they went:', ...stepLines(result)].join('\n')].join('\n\n');
}

function stepLines(result: TestResult): string[] {
  const longest = Math.max(0, ...[...result.steps.keys()].map(({ length }) => length));
  const width = Math.min(48, longest);
  const lines = [...result.steps].map(([path, state]) => stepLine(path, state, width, result.test));
  if (lines.length === 0) return ['    none began'];
  if (lines.length <= MAX_FIRST_STEPS + MAX_LAST_STEPS) return lines;
  const left = lines.length - MAX_FIRST_STEPS - MAX_LAST_STEPS;
  return [
    ...lines.slice(0, MAX_FIRST_STEPS),
    `    … ${left} more …`,
    ...lines.slice(-MAX_LAST_STEPS),
  ];
}

function stepLine(path: string, state: StepState, width: number, test: TestCase): string {
  const sinceMs = state.startedAt === undefined ? 0 : Date.parse(state.startedAt) - test.startsAtMs;
  const at = sinceMs > 0 ? `at ${formatDuration(sinceMs)}` : '';
  const starts = state.attempts > 1 ? `${state.attempts} starts` : '';
  const error = state.error === undefined ? '' : `${state.error.code}: ${state.error.message}`;
  const parts = [path.padEnd(width), state.status.padEnd(9), at, starts, clip(error)];
  return `    ${parts.filter((part) => part !== '').join('  ')}`.trimEnd();
}

/** Text from a file or a value on one line, safe to print. */
function clip(text: string): string {
  const line = text.replace(
    // oxlint-disable-next-line no-control-regex
    /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    ' ',
  );
  return line.length <= 500 ? line : `${line.slice(0, 499)}…`;
}

/** What `adit test --json` tells of a file. */
export function toJsonReport({ file, source, mistakes, results }: FileReport): object {
  return {
    file,
    diagnostics: mistakes.flatMap(({ diagnostics }) => diagnostics),
    tests: results.map((result) => toJsonResult(result, source)),
  };
}

function toJsonResult(
  { test, failures, result, steps, order, tookMs }: TestResult,
  source: Source,
): object {
  return {
    name: test.name,
    ok: failures.length === 0,
    failures: failures.map((failure) => {
      const { code, message, line, column, endLine, endColumn } = placeFailure(failure, source);
      return { code, message, details: failure.details, line, column, endLine, endColumn };
    }),
    status: result?.status ?? null,
    error: result?.error ?? null,
    outputs: result?.outputs ?? {},
    steps: [...steps].map(([path, state]) => toJsonStep(path, state)),
    order,
    seconds: tookMs / 1_000,
  };
}

function toJsonStep(
  path: string,
  { uses, status, attempts, startedAt, endedAt, error }: StepState,
): {
  readonly [key: string]: Json | undefined;
} {
  return {
    path,
    uses,
    status,
    attempts,
    startedAt: startedAt ?? null,
    endedAt: endedAt ?? null,
    error: error === undefined ? null : { ...error },
  };
}
