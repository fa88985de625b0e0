import { formatDuration } from '../core/duration.js';
import type { Json } from '../core/json.js';
import type { RunStatus, StepStatus } from '../core/run-state.js';
import { EXIT, type ExitCode } from './failure.js';
import { clean, cleanLines, paint, print } from './output.js';
import type { RunRecord } from './run-record.js';
import { table } from './table.js';

const EXIT_OF: { readonly [S in RunStatus]: ExitCode } = {
  running: EXIT.done,
  succeeded: EXIT.done,
  failed: EXIT.failed,
  stopped: EXIT.stopped,
  cancelled: EXIT.cancelled,
};

/** The exit code of a command that waited for a run. */
export function exitCodeOf(status: RunStatus): ExitCode {
  return EXIT_OF[status];
}

/** The end of a run: outputs or error, and where to look further. */
export function printRunEnd({ view, evidence, remark }: RunRecord): void {
  print(`${paint.bold(clean(view.runId))}  ${paintStatus(view.status)}`);
  if (view.error !== undefined) {
    const place = view.error.step === undefined ? '' : ` at ${clean(view.error.step)}`;
    print(`${clean(view.error.code)}${place}: ${cleanLines(view.error.message)}`);
    if (view.error.hint !== undefined && view.error.hint !== '') print(cleanLines(view.error.hint));
  }
  for (const [name, value] of Object.entries(view.outputs))
    print(`  ${clean(name)}: ${shortJson(value)}`);
  if (evidence !== '') print(`evidence: ${evidence}`);
  if (remark !== undefined) print(paint.dim(remark));
}

/** All of a run: its steps, then its end. */
export function printRun(record: RunRecord): void {
  const rows = record.view.steps.map((step) => [
    paintStatus(step.status),
    clean(step.path),
    paint.dim(clean(step.uses)),
    step.attempts > 1 ? `${step.attempts} tries` : '',
    step.startedAt === undefined || step.endedAt === undefined
      ? ''
      : formatDuration(Math.max(0, Date.parse(step.endedAt) - Date.parse(step.startedAt))),
    step.error === undefined ? '' : clean(`${step.error.code}: ${step.error.message}`, 100),
  ]);
  if (rows.length > 0) print(`${table(rows)}\n`);
  printRunEnd(record);
}

export function paintStatus(status: StepStatus | RunStatus): string {
  return PAINTS[status](status);
}

const PAINTS: { readonly [S in StepStatus]: (text: string) => string } = {
  pending: paint.dim,
  running: paint.cyan,
  parked: paint.yellow,
  succeeded: paint.green,
  failed: paint.red,
  stopped: paint.yellow,
  skipped: paint.dim,
  cancelled: paint.yellow,
};

function shortJson(value: Json): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return clean(text, 200);
}
