import { formatDuration } from '../core/duration.js';
import type { EffectRecord } from '../core/effect-record.js';
import type { ProgramListing } from '../core/host-protocol.js';
import type { Json } from '../core/json.js';
import type { RunStatus, StepStatus } from '../core/run-state.js';
import type { StepView } from '../core/run-view.js';
import { timeLeftWords } from './deadline-words.js';
import { effectLines } from './effect-lines.js';
import { EXIT, type ExitCode } from './failure.js';
import { clean, cleanLines, paint, print } from './output.js';
import { awaited, decideCommand, parkedIn } from './parked-steps.js';
import { programWords } from './program-words.js';
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
  if (view.bundle !== undefined) print(`bundle: ${clean(view.bundle)}`);
  if (remark !== undefined) print(paint.dim(remark));
}

/** What this machine knows of a run beside its record. */
export interface RunDetails {
  readonly effects: readonly EffectRecord[];
  /** The programs that its hosts have. */
  readonly programs: readonly ProgramListing[];
  /** The hold of the state folder, in words; null when nothing is held. */
  readonly hold: string | null;
}

/** All of a run: its steps, its effects, then its end. */
export function printRun(
  record: RunRecord,
  details: RunDetails = { effects: [], programs: [], hold: null },
): void {
  const { view } = record;
  const rows = view.steps.map((step) => [
    paintStatus(step.status),
    clean(step.path),
    paint.dim(clean(step.uses)),
    step.attempts > 1 ? `${step.attempts} tries` : '',
    step.startedAt === undefined || step.endedAt === undefined
      ? ''
      : formatDuration(Math.max(0, Date.parse(step.endedAt) - Date.parse(step.startedAt))),
    stepWords(step, details.programs),
  ]);
  if (rows.length > 0) print(`${table(rows)}\n`);
  for (const effect of details.effects) for (const line of effectLines(effect)) print(line);
  if (details.effects.length > 0) print();
  for (const step of view.status === 'running' ? parkedIn(view) : [])
    print(`${clean(step.path)} waits for ${awaited(step)}: ${decideCommand(view.runId, step)}`);
  if (details.hold !== null) print(details.hold);
  if (record.deadline !== undefined && view.status === 'running')
    print(`deadline: ${record.deadline} (${timeLeftWords(record.deadline, Date.now())})`);
  printRunEnd(record);
}

/** What it waits for, what its program does, or how it failed. */
function stepWords(
  { path, error, note, status }: StepView,
  programs: readonly ProgramListing[],
): string {
  const program =
    status === 'running' ? programs.find(({ stepPath }) => stepPath === path) : undefined;
  return [
    error === undefined ? '' : clean(`${error.code}: ${error.message}`, 100),
    note === undefined ? '' : clean(note, 160),
    program === undefined ? '' : programWords(program, Date.now()),
  ]
    .filter((word) => word !== '')
    .join('; ');
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
