/**
 * Compares an onboarding page with the task's record. The page is a stranger's text: it is read for the
 * few lines below and for nothing else.
 */
import type { Json, JsonObject } from '../core/json.js';
import { plainText } from '../core/plain-text.js';

const SECTIONS: ReadonlySet<string> = new Set(['competition', 'source', 'allowed edit surfaces']);

/** More of a line is not looked at. */
const MAX_LINE_LENGTH = 4_096;

/** Labels whose member of the record cannot be told from the label (protocol 2.4, stored pages). */
const EXPECTED: Readonly<Record<string, (task: JsonObject) => string | null>> = {
  'task id': (task) => text(task['id']),
  metric: (task) => measured(task['metric_name'], task['metric_direction']),
  'secondary metric': (task) =>
    text(task['secondary_metric_name']) === null
      ? 'none'
      : measured(task['secondary_metric_name'], task['secondary_metric_direction']),
  'minimum peer evaluations for consensus': (task) => text(task['min_peer_evaluations']),
  'time budget': (task) => {
    const seconds = text(task['time_budget_seconds']);
    return seconds === null ? null : `${seconds} seconds`;
  },
  'task record': (task) => `/api/v1/tasks/${text(task['id']) ?? ''}`,
  'onboarding endpoint': (task) =>
    text(task['onboard_path']) ?? `/api/v1/tasks/${text(task['id']) ?? ''}/onboard.md`,
};

/** The host of these is whatever name the page was asked under, so only their path says something. */
const PATHS_ONLY: ReadonlySet<string> = new Set(['task record', 'onboarding endpoint']);

/**
 * The lines `- Label: value` under Competition, Source and Allowed Edit Surfaces that differ from the
 * task's record, in words. A missing line, and a label that the record knows nothing of, do not differ.
 */
export function findContradictions(page: string, task: JsonObject): string[] {
  const contradictions: string[] = [];
  let section = '';
  for (const long of page.split(/\r\n|\r|\n/)) {
    const line = long.slice(0, MAX_LINE_LENGTH).trim();
    const heading = /^#{1,6}\s(.*)$/.exec(line);
    if (heading !== null) {
      section = (heading[1] ?? '').replaceAll('#', '').trim().toLowerCase();
      continue;
    }
    if (!SECTIONS.has(section)) continue;
    const entry = /^[-*+]\s+([A-Za-z][A-Za-z0-9 _-]{0,80}):\s(.*)$/.exec(line);
    if (entry === null) continue;
    const label = (entry[1] ?? '').trim();
    const said = (entry[2] ?? '').trim();
    const expected = expectedValue(label, task);
    if (expected === null || isSame(label, said, expected)) continue;
    contradictions.push(
      `${plainText(label, 80)} is "${plainText(said, 200)}" on the page and "${plainText(expected, 200)}" in the record`,
    );
  }
  return contradictions;
}

/** What the record says about a label; null when it says nothing. */
function expectedValue(label: string, task: JsonObject): string | null {
  const name = label.toLowerCase().replace(/\s+/g, ' ');
  if (Object.hasOwn(EXPECTED, name)) return EXPECTED[name]?.(task) ?? null;
  const member = name.replace(/[ -]/g, '_');
  if (!Object.hasOwn(task, member)) return null;
  const value = task[member];
  if (value === null) return 'none';
  return Array.isArray(value) ? value.map(String).join(', ') : text(value);
}

function isSame(label: string, said: string, expected: string): boolean {
  const name = label.toLowerCase().replace(/\s+/g, ' ');
  const left = normalise(said);
  const right = normalise(expected);
  if (PATHS_ONLY.has(name)) return left.replace(/^[^/]*/, '') === right.replace(/^[^/]*/, '');
  if (name === 'slug' || name === 'competition mode')
    return left.toLowerCase() === right.toLowerCase();
  return left === right;
}

/** Without code marks, runs of blanks, a URL's scheme, or the slash at its end. */
function normalise(value: string): string {
  return value
    .replace(/`/g, '')
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/^<(.*)>$/, '$1')
    .replace(/^https?:\/\//i, '')
    .replace(/\/$/, '');
}

function measured(name: Json | undefined, direction: Json | undefined): string | null {
  const metric = text(name);
  if (metric === null) return null;
  const way = text(direction);
  return way === null ? metric : `${metric} (${way})`;
}

function text(value: Json | undefined): string | null {
  if (typeof value === 'string') return value.trim() === '' ? null : value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : null;
}
