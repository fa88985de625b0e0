/** A planned run for people: a line for each step, in the tree that they make. */
import { formatDuration } from '../../core/duration.js';
import { clean, note, paint, print } from '../output.js';
import { ownName } from '../own-name.js';
import { quoted } from '../parked-steps.js';
import { table } from '../table.js';
import { timeKey, type PastTimes } from './expected-time.js';
import type { KnownValue } from './known-value.js';
import { effectsAndApprovals, type PlannedRun } from './plan-json.js';
import { isToRun, type PlannedBlock, type PlannedStep, type Will } from './planned-step.js';

const VALUE_LENGTH = 60;
const LINE_LENGTH = 200;

const WILL: { readonly [W in Will]: readonly [string, (text: string) => string] } = {
  runs: ['runs', paint.green],
  may_run: ['may run', paint.yellow],
  skipped: ['skipped', paint.dim],
  not_reached: ['not reached', paint.dim],
  reused: ['reused', paint.cyan],
};

interface Line {
  readonly cells: readonly string[];
  /** What stands below the line; empty for nothing. */
  readonly below: string;
}

export function printPlannedRun(run: PlannedRun): void {
  const { plan, retry } = run;
  const summary = plan.summary === undefined ? '' : `  ${clean(plan.summary)}`;
  print(`${paint.bold(clean(plan.pipeline))}${paint.dim(summary)}`);
  if (retry !== null) print(`retry of ${clean(retry.runId)}, round ${clean(retry.roundId)}`);
  for (const [name, value] of Object.entries(plan.inputs))
    print(`  ${clean(name)}: ${valueText({ known: true, value })}`);
  print();
  const isTimed = run.past.source !== null;
  const lines = run.steps.flatMap((step) => linesOf(step, 0, isTimed ? run.past.times : null));
  const rows = table(lines.map(({ cells }) => cells)).split('\n');
  for (const [index, row] of rows.entries()) {
    print(row);
    const below = lines[index]?.below ?? '';
    if (below !== '') print(below);
  }
  print();
  printTotals(run);
}

function linesOf(step: PlannedStep, depth: number, past: PastTimes | null): Line[] {
  const [word, color] = WILL[step.will];
  const isOpen = isToRun(step);
  const indent = '  '.repeat(depth);
  const values = isOpen ? knownValues(step) : '';
  const own: Line = {
    cells: [
      color(word),
      `${indent}${clean(step.key, 80)}${timesText(step)}`,
      paint.dim(clean(step.uses)),
      isOpen ? placeText(step) : '',
      isOpen ? limitsText(step) : '',
      isOpen ? timeText(step, past) : '',
      marksOf(step),
    ],
    below: values === '' ? '' : `             ${indent}${paint.dim(values)}`,
  };
  return [own, ...step.blocks.flatMap((block) => blockLines(block, depth + 1, past))];
}

function blockLines(block: PlannedBlock, depth: number, past: PastTimes | null): Line[] {
  const lines = block.steps.flatMap((step) => linesOf(step, depth, past));
  const words = [
    clean(block.title, 120),
    block.order === 'parallel' ? `at once${mostOf(block)}:` : '',
  ].filter((word) => word !== '');
  if (words.length === 0) return lines;
  const title = paint.dim(`${'  '.repeat(depth)}${words.join(', ')}`);
  return [{ cells: ['', title], below: '' }, ...lines];
}

function mostOf({ atOnce, steps }: PlannedBlock): string {
  const isBound =
    atOnce !== null && (atOnce < steps.length || steps.some(({ times }) => times !== 1));
  return isBound ? `, at most ${atOnce}` : '';
}

function timesText({ times, reusedItems = 0, path }: PlannedStep): string {
  if (!path.endsWith('#*')) return '';
  const reused = reusedItems === 0 ? '' : `, ${reusedItems} reused`;
  return times === null ? ` (how often the run tells${reused})` : ` (${times} times${reused})`;
}

function placeText({ queue, gpus, program }: PlannedStep): string {
  const words: string[] = [];
  if (queue?.kind === 'shared') words.push(`queue ${clean(queue.name)}`);
  if (queue?.kind === 'run') words.push('host of the run');
  if (queue?.kind === 'workspace')
    words.push(
      queue.name === null ? `host of ${clean(queue.of, 60)}` : `queue ${clean(queue.name)}`,
    );
  if (program) words.push('program');
  if (gpus > 0) words.push(gpus === 1 ? '1 GPU' : `${gpus} GPUs`);
  return words.join(', ');
}

function limitsText({ limits, quorum }: PlannedStep): string {
  const words: string[] = [];
  const { timeoutMs, attemptTimeoutMs, attempts, iterations, everyMs, finallyTimeoutMs, expires } =
    limits;
  if (timeoutMs !== undefined) words.push(`at most ${formatDuration(timeoutMs)}`);
  if (attemptTimeoutMs !== undefined) words.push(`an attempt ${formatDuration(attemptTimeoutMs)}`);
  if (attempts !== undefined && attempts > 1) words.push(`${attempts} tries`);
  if (iterations !== undefined) words.push(`at most ${iterations} times`);
  if (everyMs !== undefined) words.push(`every ${formatDuration(everyMs)}`);
  if (finallyTimeoutMs !== undefined) words.push(`finally ${formatDuration(finallyTimeoutMs)}`);
  if (quorum !== undefined) words.push(quorum === 1 ? 'one approval' : `${quorum} approvals`);
  if (expires !== undefined) words.push(`within ${valueText(expires)}`);
  return words.join(', ');
}

/** Blocks take the time of their parts. */
function timeText(step: PlannedStep, past: PastTimes | null): string {
  if (step.waitMs !== undefined) return formatDuration(step.waitMs);
  if (past === null || !step.uses.includes('.')) return '';
  const measured = past.get(timeKey(step));
  return measured === undefined ? paint.dim('never run') : `~${formatDuration(measured.ms)}`;
}

function marksOf(step: PlannedStep): string {
  const words: string[] = [];
  if (step.effect && isToRun(step)) words.push(paint.magenta('effect'));
  if (step.uses === 'approve' && isToRun(step)) words.push(paint.magenta('asks people'));
  if (step.needs !== undefined) {
    const names = step.needs.map((path) => path.slice(path.lastIndexOf('/') + 1));
    words.push(`after ${clean(names.join(', '), 100)}`);
  }
  if (step.condition !== null) words.push(`if ${clean(step.condition, 100)}`);
  if (step.reason !== null && step.reason.code !== 'kept')
    words.push(`${step.reason.code}: ${clean(step.reason.message, 160)}`);
  return words.join('; ');
}

/** Those that the file does not show as they stand: expressions that are known by now, and plain values. */
function knownValues(step: PlannedStep): string {
  const known = Object.entries(step.with).flatMap(([name, value]) =>
    value.known ? [`${clean(name)}=${valueText(value)}`] : [],
  );
  return clean(known.join('  '), LINE_LENGTH);
}

function valueText(value: KnownValue): string {
  if (!value.known) return clean(value.text, VALUE_LENGTH);
  const text = typeof value.value === 'string' ? value.value : JSON.stringify(value.value);
  return clean(text, VALUE_LENGTH);
}

function printTotals(run: PlannedRun): void {
  const { plan, retry } = run;
  const { effects, approvals } = effectsAndApprovals(run.steps);
  const paths = (steps: readonly PlannedStep[]): string =>
    clean(steps.map(({ path }) => path).join(', '), 500);
  if (effects.length > 0) {
    const where =
      plan.network.coordinator === '' ? '' : ` (coordinator ${clean(plan.network.coordinator)})`;
    print(`effects: ${paths(effects)}${where}`);
  }
  if (approvals.length > 0) print(`approvals: ${paths(approvals)}`);
  if (run.hold !== null) print(run.hold);
  print(`time: ${timeWords(run, approvals.length > 0)}`);
  const { expected, atMost } = run.gpuHours;
  print(
    `GPU-hours: ${expected === null ? 'not known' : hours(expected)}, at most ${atMost === null ? 'not known' : hours(atMost)}`,
  );
  if (plan.deadlineMs !== undefined)
    print(`deadline: ${formatDuration(plan.deadlineMs)} after its start`);
  if (retry?.remark !== undefined && retry.remark !== null) note(clean(retry.remark));
  print(paint.dim(`Nothing was started. ${wayOn(run)}`.trim()));
}

function timeWords({ past, time }: PlannedRun, asksPeople: boolean): string {
  const remark = past.remark === null ? '' : clean(past.remark);
  if (past.source === null) return `not known. ${remark}`;
  if (past.runs === 0) {
    const pauses = time.ms === 0 ? '' : `, with pauses of ${formatDuration(time.ms)}`;
    return `never run${pauses}`;
  }
  const words = [time.ms === 0 ? 'not known' : `about ${formatDuration(time.ms)}`];
  if (time.neverRan.length > 0)
    words.push(`and ${counted(time.neverRan.length, 'step')} that never ran`);
  if (asksPeople) words.push('without waiting for people');
  return `${words.join(', ')} (${counted(past.runs, 'past run')}) ${remark}`.trim();
}

function counted(count: number, what: string): string {
  return count === 1 ? `one ${what}` : `${count} ${what}s`;
}

function hours(value: number): string {
  return String(Number(value.toPrecision(3)));
}

/** A retry does what it does for its own plan only. */
function wayOn({ file, retry, steps }: PlannedRun): string {
  if (retry === null) return '';
  const isAnew = steps.some(
    ({ reason }) => reason?.code === 'source_changed' || reason?.code === 'input_changed',
  );
  return isAnew && file !== null
    ? `\`${ownName()} run ${quoted(file)}\` begins so; \`${ownName()} retry ${quoted(retry.runId)}\` goes on with the old plan.`
    : `\`${ownName()} retry ${quoted(retry.runId)}\` begins it.`;
}
