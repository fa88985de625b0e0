/**
 * Shows a run while it goes. What has ended is printed once, line by line; at a terminal the steps that are
 * under way stand below, rewritten in place; elsewhere their status is printed as it changes.
 */
import { formatDuration } from '../core/duration.js';
import type { StepView } from '../core/run-view.js';
import type { PendingStep, RunSnapshot } from './follow-run.js';
import { clean, paint, wantsColor } from './output.js';
import { decideCommand } from './parked-steps.js';
import { statusWords } from './status-words.js';
import type { StepWords } from './step-words.js';

/** Without a terminal a step's changing status is printed at most this often. */
const PLAIN_STATUS_EVERY_MS = 5_000;
const TURNS = ['item', 'iteration'];
const BLOCKS = new Set([
  'foreach',
  'repeat',
  'parallel',
  'try',
  'if',
  'stop',
  'pipeline',
  'block',
  ...TURNS,
]);

export interface ProgressView {
  /** `words` are added to the steps that have ended. */
  update(snapshot: RunSnapshot, words?: StepWords): void;
  /** A line about something else than the run, above the live region. */
  say(text: string): void;
  /** Removes the live region; nothing may be shown after it. */
  end(): void;
}

export async function createProgressView(stream: NodeJS.WriteStream): Promise<ProgressView> {
  const live = wantsLive(stream) ? (await import('log-update')).createLogUpdate(stream) : null;
  const ended = new Set<string>();
  const attempts = new Map<string, number>();
  const plain = new Map<string, { text: string; at: number }>();
  const waiting = new Map<string, string>();
  let stalled: string | null = null;

  const write = (line: string): void => {
    live?.clear();
    stream.write(`${line}\n`);
  };

  function update(snapshot: RunSnapshot, words: StepWords = new Map()): void {
    const steps = snapshot.view?.steps ?? [];
    for (const step of steps) {
      if (isEnded(step) && !ended.has(step.path)) {
        ended.add(step.path);
        const line = endedLine(step, words.get(step.path));
        if (line !== null) write(line);
      }
      const before = attempts.get(step.path) ?? 1;
      if (step.attempts > before)
        write(paint.yellow(`↻ ${clean(step.path)}  try ${step.attempts}`));
      attempts.set(step.path, Math.max(before, step.attempts));
    }
    writeWaiting(snapshot.view);
    if (live !== null) {
      live(liveRegion(snapshot, steps, stream));
      return;
    }
    if (snapshot.stalled !== stalled && snapshot.stalled !== null)
      write(`… ${clean(snapshot.stalled)}`);
    stalled = snapshot.stalled;
    for (const step of snapshot.pending) writePlainStatus(step);
  }

  /** Once each time that a step begins to wait: for a person, with the command that decides, or for a host. */
  function writeWaiting(view: RunSnapshot['view']): void {
    for (const step of view?.steps ?? []) {
      const text = waitingText(step);
      const before = waiting.get(step.path) ?? '';
      waiting.set(step.path, text);
      if (text === '' || text === before || view === null) continue;
      write(`${paint.yellow('‖')} ${clean(step.path)}  ${text}`);
      if (step.status === 'parked')
        write(
          `  ${step.approval === undefined ? 'decide' : 'look'} with: ${decideCommand(view.runId, step)}`,
        );
    }
  }

  function writePlainStatus(step: PendingStep): void {
    const text = statusText(step);
    const last = plain.get(step.path);
    if (last?.text === text) return;
    // The first words after "it has begun" are not held back.
    if (last !== undefined && last.text !== '' && Date.now() - last.at < PLAIN_STATUS_EVERY_MS)
      return;
    plain.set(step.path, { text, at: Date.now() });
    write(`▶ ${clean(step.path)}${text === '' ? '' : `  ${text}`}`);
  }

  return {
    update,
    say: write,
    end() {
      live?.clear();
      live?.done();
    },
  };
}

function wantsLive(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY && process.env['TERM'] !== 'dumb';
}

function isEnded({ status }: Pick<StepView, 'status'>): boolean {
  return status !== 'pending' && status !== 'running' && status !== 'parked';
}

/** A block's line would only repeat its steps, unless the block itself is to blame. */
function endedLine(step: StepView, word: string | undefined): string | null {
  const isBlock = BLOCKS.has(step.uses);
  if (step.status === 'skipped')
    return isBlock ? null : paint.dim(`– ${clean(step.path)}  skipped`);
  if (
    isBlock &&
    (step.status === 'succeeded' || step.error === undefined || TURNS.includes(step.uses))
  )
    return null;
  const name = `${clean(step.path)}  ${paint.dim(clean(step.uses))}`;
  const time = durationOf(step);
  const error =
    step.error === undefined
      ? ''
      : `  ${clean(step.error.code)}: ${clean(step.error.message, 300)}`;
  switch (step.status) {
    case 'succeeded':
      return `${paint.green('✓')} ${name}  ${time}${word === undefined ? '' : `  ${word}`}`;
    case 'stopped':
      return `${paint.yellow('■')} ${name}  ${time}${error}`;
    case 'cancelled':
      return `${paint.yellow('⊘')} ${name}  cancelled`;
    default:
      return `${paint.red('✗')} ${name}  ${time}${error}`;
  }
}

function durationOf({ startedAt, endedAt }: StepView, now?: number): string {
  if (startedAt === undefined) return '';
  const end = endedAt === undefined ? now : Date.parse(endedAt);
  return end === undefined ? '' : formatDuration(Math.max(0, end - Date.parse(startedAt)));
}

function liveRegion(
  snapshot: RunSnapshot,
  steps: readonly StepView[],
  stream: NodeJS.WriteStream,
): string {
  const width = Math.max(20, (stream.columns ?? 80) - 1);
  const height = Math.max(3, (stream.rows ?? 24) - 2);
  const pending = new Map(snapshot.pending.map((step) => [step.path, step]));
  const running = steps.filter(
    ({ status, uses }) => (status === 'running' || status === 'parked') && !BLOCKS.has(uses),
  );
  const lines = running.map((step) => {
    if (step.status === 'parked') return `‖ ${clean(step.path)}  ${waitingText(step)}`;
    const activity = pending.get(step.path);
    const tries = step.attempts > 1 ? `try ${step.attempts}  ` : '';
    return `▶ ${clean(step.path)}  ${durationOf(step, Date.now())}  ${tries}${[activity === undefined ? '' : statusText(activity), clean(step.note ?? '')].filter((word) => word !== '').join('  ')}`;
  });
  const done = steps.filter((step) => !BLOCKS.has(step.uses) && isEnded(step)).length;
  const total = steps.filter((step) => !BLOCKS.has(step.uses)).length;
  const stage =
    snapshot.view === null
      ? 'starting'
      : `stage ${clean(snapshot.view.stage) || '-'}, ${done} of ${total} steps`;
  const foot = snapshot.stalled === null ? stage : `${stage}; ${clean(snapshot.stalled)}`;
  const texts = [...lines.slice(-height), foot].map((line) => clip(line, width));
  const color = wantsColor(stream, process.env);
  return texts
    .map((line, index) => (color && index === texts.length - 1 ? paint.dim(line) : line))
    .join('\n');
}

/** What a step waits for as the run itself says it; empty when it does not wait. */
function waitingText({ status, error, note, approval }: StepView): string {
  const told = note === undefined ? '' : clean(note);
  if (status !== 'parked') return isEnded({ status }) ? '' : told;
  if (approval !== undefined) return told;
  const why = error === undefined ? '' : `: ${clean(error.code)}: ${clean(error.message, 200)}`;
  return `waits for a decision${why}${told === '' ? '' : ` (${told})`}`;
}

/** What a step that is under way does, for people. */
export function statusText({ status, attempt, waitingFor }: PendingStep): string {
  if (waitingFor !== null) return `waits: ${clean(shortenIds(waitingFor), 160)}`;
  if (typeof status['waiting'] === 'string')
    return `waits for ${clean(shortenIds(status['waiting']), 160)}`;
  const words = statusWords(status);
  return [words, attempt > 1 ? `attempt ${attempt}` : ''].filter((word) => word !== '').join('  ');
}

/** UUIDs and SS58 addresses by their beginning: whole, they push the reason off a terminal of 80 columns. */
function shortenIds(text: string): string {
  return text
    .replace(/\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, '$1…')
    .replace(/\b(5[1-9A-HJ-NP-Za-km-z]{5})[1-9A-HJ-NP-Za-km-z]{42}\b/g, '$1…');
}

function clip(line: string, width: number): string {
  const points = Array.from(line);
  return points.length <= width ? line : `${points.slice(0, width - 1).join('')}…`;
}
