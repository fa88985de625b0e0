/** Results as JUnit XML, in the form that CI servers read: a suite for each file, a case for each test. */
import { printDiagnostic } from '../compiler/diagnostic.js';
import { placeFailure, printFailedTest, type FileReport } from './report.js';
import type { TestResult } from './run-test.js';

export function toJUnit(reports: readonly FileReport[]): string {
  const suites = reports.map(toSuite);
  const total = (key: 'tests' | 'failures' | 'errors'): number =>
    suites.reduce((sum, suite) => sum + suite[key], 0);
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites${attributes({
      name: 'adit test',
      tests: total('tests'),
      failures: total('failures'),
      errors: total('errors'),
      time: inSeconds(reports.reduce((sum, { tookMs }) => sum + tookMs, 0)),
    })}>`,
    ...suites.map(({ xml }) => xml),
    '</testsuites>',
    '',
  ].join('\n');
}

interface Suite {
  readonly xml: string;
  readonly tests: number;
  readonly failures: number;
  readonly errors: number;
}

/** A file with mistakes is a suite with one case that could not be run. */
function toSuite(report: FileReport): Suite {
  const { file, mistakes, results, tookMs } = report;
  const cases =
    mistakes.length > 0 ? [brokenCase(report)] : results.map((result) => toCase(result, report));
  const tests = cases.length;
  const failures = results.filter((result) => result.failures.length > 0).length;
  const errors = mistakes.length > 0 ? 1 : 0;
  const open = `<testsuite${attributes({ name: file, tests, failures, errors, skipped: 0, time: inSeconds(tookMs) })}>`;
  const xml = [`  ${open}`, ...cases, '  </testsuite>'].join('\n');
  return { xml, tests, failures, errors };
}

function toCase(result: TestResult, { file, source }: FileReport): string {
  const { test, failures } = result;
  const line = source.lineStarts.filter((start) => start <= test.nameRange.start).length;
  const open = attributes({ name: test.name, classname: file, file, line });
  const [first] = failures;
  if (first === undefined) return `    <testcase${open}/>`;
  const { message, code } = placeFailure(first, source);
  const text = printFailedTest(result, source);
  return [
    `    <testcase${open}>`,
    `      <failure${attributes({ message, type: code })}>${escapeXml(text)}</failure>`,
    '    </testcase>',
  ].join('\n');
}

function brokenCase({ file, mistakes }: FileReport): string {
  const told = mistakes.flatMap(({ source, diagnostics }) =>
    diagnostics.map((diagnostic) => printDiagnostic(diagnostic, source)),
  );
  const message = `the file has ${told.length === 1 ? 'a mistake' : `${told.length} mistakes`}`;
  return [
    `    <testcase${attributes({ name: 'the file has no mistake', classname: file, file })}>`,
    `      <error${attributes({ message, type: 'INVALID' })}>${escapeXml(told.join('\n\n'))}</error>`,
    '    </testcase>',
  ].join('\n');
}

function inSeconds(ms: number): string {
  return (ms / 1_000).toFixed(3);
}

function attributes(values: { readonly [name: string]: string | number }): string {
  return Object.entries(values)
    .map(([name, value]) => ` ${name}="${escapeXml(String(value))}"`)
    .join('');
}

const ENTITIES: { readonly [char: string]: string } = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};

/** Text as XML 1.0 can hold it: what no document may contain, also not escaped, becomes U+FFFD. */
function escapeXml(text: string): string {
  return (
    text
      // oxlint-disable-next-line no-control-regex
      .replace(/[\p{Surrogate}\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/gu, '\ufffd')
      .replace(/[&<>"']/g, (char) => ENTITIES[char] ?? char)
  );
}
