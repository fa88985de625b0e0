/** What a rehearsal has found, for people and for programs. */
import { formatDuration } from '../../core/duration.js';
import { boundaryText, type Boundary } from '../../rehearse/boundary.js';
import { FAULT_NAMES, FAULTS } from '../../rehearse/fault.js';
import { coverageOf, scheduleText } from '../../rehearse/schedule.js';
import { clean, paint, print, printJson } from '../output.js';
import { ownName } from '../own-name.js';
import { table } from '../table.js';
import type { Failure, Judged } from './sweep.js';

export interface Found {
  readonly file: string;
  readonly seed: string;
  readonly boundaries: readonly Boundary[];
  readonly judged: readonly Judged[];
  readonly failures: readonly Failure[];
  readonly tookMs: number;
}

export function printFound(found: Found): void {
  const { boundaries, judged, failures, tookMs } = found;
  const head = ['fault', 'played', 'happened', 'right', 'wrong', ''].map(paint.bold);
  const rows = FAULT_NAMES.flatMap((name) => {
    const of = judged.filter(({ schedule }) => schedule.some(({ fault }) => fault === name));
    if (of.length === 0) return [];
    const happened = of.filter(({ fired }) => fired.some(({ fault }) => fault === name)).length;
    const right = of.filter(({ verdict }) => verdict === 'right').length;
    const wrong = of.filter(({ verdict }) => verdict === 'wrong').length;
    const shown = wrong > 0 ? paint.red(String(wrong)) : '0';
    return [
      [name, String(of.length), String(happened), String(right), shown, FAULTS[name].summary],
    ];
  });
  print(table([head, ...rows]));
  print();
  const coverage = coverageOf(
    boundaries,
    judged.flatMap(({ fired }) => fired),
  );
  print(
    table([
      ['boundary', 'there are', 'with a fault'].map(paint.bold),
      ...coverage.map(({ kind, boundaries: count, faulted }) => [
        kind,
        String(count),
        String(faulted),
      ]),
    ]),
  );
  print();
  for (const { judged: one, shortest } of failures) {
    print(paint.red(`WRONG ${scheduleText(one.schedule)}`));
    for (const { rule, message } of one.violations) print(`  ${rule}: ${clean(message)}`);
    print(`  ${replayCommand(found, scheduleText(shortest))}`);
    print();
  }
  for (const one of judged.filter(({ verdict }) => verdict === 'missed'))
    print(`not happened: ${scheduleText(one.schedule)}`);
  for (const one of judged.filter(({ verdict }) => verdict === 'broken'))
    print(`could not be played: ${scheduleText(one.schedule)}\n  ${clean(one.problem ?? '')}`);
  const count = (verdict: Judged['verdict']): number =>
    judged.filter((one) => one.verdict === verdict).length;
  const parts = [
    `${judged.length} runs`,
    `${count('right')} right`,
    `${count('wrong')} wrong`,
    ...(count('missed') > 0 ? [`${count('missed')} whose fault did not happen`] : []),
    ...(count('broken') > 0 ? [`${count('broken')} that could not be played`] : []),
  ];
  print(`${parts.join(', ')}; ${formatDuration(tookMs)}, seed ${found.seed}`);
}

export function printFoundJson(found: Found): void {
  const { file, seed, boundaries, judged, failures, tookMs } = found;
  printJson({
    file,
    seed,
    tookMs: Math.round(tookMs),
    boundaries: boundaries.map(boundaryText),
    coverage: coverageOf(
      boundaries,
      judged.flatMap(({ fired }) => fired),
    ),
    runs: judged.map((one) => ({
      schedule: scheduleText(one.schedule),
      verdict: one.verdict,
      violations: one.violations,
      ...(one.problem === null ? {} : { problem: one.problem }),
      tookMs: Math.round(one.tookMs),
    })),
    failures: failures.map(({ judged: one, shortest }) => ({
      schedule: scheduleText(one.schedule),
      shortest: scheduleText(shortest),
      replay: replayCommand(found, scheduleText(shortest)),
    })),
  });
}

function replayCommand({ file }: Found, schedule: string): string {
  return `${ownName()} rehearse ${quoted(file)} --replay '${schedule}'`;
}

function quoted(word: string): string {
  return /^[\w./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
