/** The rows of a benchmark: printed as a table when it ends, and written as JSON to the file that ADIT_BENCH_JSON names. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import Table from 'cli-table3';

export interface BenchRow {
  readonly what: string;
  readonly measured: string;
  /** Absent: stated only. */
  readonly bar?: string;
  readonly passed?: boolean;
  readonly values: { readonly [name: string]: number | readonly number[] };
}

const rows: BenchRow[] = [];

/** Also told at once: the whole takes long, and may be ended before its report. */
export function addRow(row: BenchRow): void {
  rows.push(row);
  process.stderr.write(`${row.what}: ${row.measured}\n`);
}

export function printReport(): void {
  const table = new Table({
    head: ['what', 'measured', 'bar', ''],
    style: { head: [], border: [] },
  });
  for (const { what, measured, bar = '', passed } of rows) {
    table.push([what, measured, bar, passed === undefined ? '' : passed ? 'passed' : 'MISSED']);
  }
  process.stdout.write(`${table.toString()}\n`);
  const file = process.env['ADIT_BENCH_JSON'];
  if (file !== undefined) writeFileSync(file, `${JSON.stringify(withOthers(file), null, 2)}\n`);
  else process.stdout.write(`${JSON.stringify(rows)}\n`);
}

/** The rows of other files of the bench stay. */
function withOthers(file: string): readonly BenchRow[] {
  if (!existsSync(file)) return rows;
  const before = JSON.parse(readFileSync(file, 'utf8')) as readonly BenchRow[];
  return [...before.filter(({ what }) => !rows.some((row) => row.what === what)), ...rows];
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
