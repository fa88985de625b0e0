/**
 * What a trainer says about itself: `key=value` words in its output, JSON lines in its metrics file, and
 * patterns that the pipeline gives. The text is a stranger's, so lines, names and values are bounded.
 *
 * A pattern is plain text with `{}` in the place of the number (`val loss: {} nats`); without `{}` the
 * number follows the text. No regular expressions: one that backtracks would stop the whole worker.
 */
import { isJsonObject, type Json } from './json.js';
import { plainText } from './plain-text.js';

const LONGEST_LINE = 4_096;
const MOST_METRICS = 64;
const NUMBER = /[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?/iy;

export interface TrainingProgress {
  /** Takes the next piece of the program's output. */
  readOutput(text: string): void;
  /** Takes the next piece of the metrics file: one JSON object a line; anything else is ignored. */
  readMetrics(text: string): void;
  /** How many numbers were read so far, whether they are other ones than before or not. */
  readings(): number;
  /** The latest value of each finite number seen, by name. */
  metrics(): { [name: string]: number };
  /** A short status for people: what of `phase step total loss elapsed eta` and the patterns is known. */
  status(): { [name: string]: Json };
}

/** Creates a reader; `patterns` maps the name of a metric to its pattern. */
export function createTrainingProgress(
  patterns: { readonly [name: string]: string } = {},
): TrainingProgress {
  const latest = new Map<string, number>();
  let phase: string | null = null;
  let lastLine = '';
  let readings = 0;
  const compiled = Object.entries(patterns).map(([name, pattern]) => {
    const [before = '', after = ''] = pattern.split('{}', 2);
    return { name, before, after };
  });

  function note(name: string, value: number): void {
    if (!Number.isFinite(value)) return;
    if (!latest.has(name) && latest.size >= MOST_METRICS) return;
    latest.set(name, value);
    readings += 1;
  }

  function noteWord(name: string, text: string): void {
    if (name === 'phase') {
      phase = plainText(text, 40);
      return;
    }
    const fraction = /^(\d{1,15})\/(\d{1,15})$/.exec(text);
    if (name === 'step' && fraction !== null) {
      note('step', Number(fraction[1]));
      note('total', Number(fraction[2]));
      return;
    }
    const value = numberAt(text, 0);
    // A unit may follow, as in `elapsed=3.2s`; `loss=3e` or a version number is not a measurement.
    if (value !== null && /^(?:s|sec|ms|%)?[,;]?$/.test(text.slice(value.end))) {
      note(name, text.slice(value.end).startsWith('ms') ? value.value / 1_000 : value.value);
    }
  }

  function readOutputLine(line: string): void {
    if (line.trim() !== '') lastLine = line;
    for (const [, name, text] of line.matchAll(
      /(?<![\w.])([A-Za-z_][\w.-]{0,63})=([^\s=]{1,64})(?=\s|$)/g,
    )) {
      noteWord(name as string, text as string);
    }
    for (const { name, before, after } of compiled) {
      const value = findNumber(line, before, after);
      if (value !== null) note(name, value);
    }
  }

  function readMetricsLine(line: string): void {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      return;
    }
    if (!isJsonObject(value)) return;
    for (const [name, member] of Object.entries(value)) {
      if (name === 'phase' && typeof member === 'string') phase = plainText(member, 40);
      else if (typeof member === 'number') note(name.slice(0, 64), member);
    }
  }

  const output = createLineCutter(readOutputLine);
  const metricsFile = createLineCutter(readMetricsLine);

  return {
    readOutput: output,
    readMetrics: metricsFile,
    readings: () => readings,
    metrics: () => Object.fromEntries(latest),
    status() {
      const status: { [name: string]: Json } = {};
      if (phase !== null) status['phase'] = phase;
      for (const name of ['step', 'total', 'loss', 'elapsed', 'eta']) {
        const value = latest.get(name);
        if (value !== undefined) status[name] = value;
      }
      const { step, total, elapsed } = Object.fromEntries(latest);
      if (status['eta'] === undefined && step !== undefined && total !== undefined) {
        if (elapsed !== undefined && step > 0 && total >= step) {
          status['eta'] =
            Math.round(((elapsed / step) * (total - step) + Number.EPSILON) * 10) / 10;
        }
      }
      for (const { name } of compiled.slice(0, 8)) {
        const value = latest.get(name);
        if (value !== undefined) status[name] = value;
      }
      if (Object.keys(status).length === 0 && lastLine !== '') {
        status['output'] = plainText(lastLine, 120);
      }
      return status;
    },
  };
}

/** Collects text into lines; of a line that is too long only the beginning is kept. */
function createLineCutter(take: (line: string) => void): (text: string) => void {
  let rest = '';
  const keep = (piece: string): string => rest + piece.slice(0, LONGEST_LINE - rest.length);
  return (text) => {
    let from = 0;
    for (const match of text.matchAll(/[\r\n]/g)) {
      take(keep(text.slice(from, match.index)));
      rest = '';
      from = match.index + 1;
    }
    rest = keep(text.slice(from));
  };
}

function findNumber(line: string, before: string, after: string): number | null {
  const start = line.indexOf(before);
  if (start < 0 || before === '') return null;
  let at = start + before.length;
  while (line[at] === ' ' || line[at] === '\t') at += 1;
  const found = numberAt(line, at);
  if (found === null || !line.startsWith(after, found.end)) return null;
  return found.value;
}

function numberAt(text: string, at: number): { value: number; end: number } | null {
  NUMBER.lastIndex = at;
  const match = NUMBER.exec(text);
  return match === null ? null : { value: Number(match[0]), end: NUMBER.lastIndex };
}
