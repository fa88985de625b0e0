/**
 * Finds a metric in what a benchmark left behind, in the validator's order (task-repositories section 6),
 * with the stricter refusals that a miner's own measurement needs: the validator would turn `true` into 1.0.
 */
import { isJsonObject, type Json } from './json.js';
import { nonFiniteName } from './python-json.js';

export type MetricReading =
  | { readonly kind: 'value'; readonly value: number }
  | { readonly kind: 'missing' }
  /** There is something in the metric's place that is not a finite number. */
  | { readonly kind: 'unusable'; readonly found: string };

/**
 * Reads a metric from a result file: (a) top-level `metric_name` equal to the name together with
 * `metric_value`, (b) `metrics[name]`, (c) the name as a top-level key. The first that exists counts.
 */
export function readResultMetric(result: Json, name: string): MetricReading {
  if (!isJsonObject(result)) return { kind: 'missing' };
  if (result['metric_name'] === name && Object.hasOwn(result, 'metric_value')) {
    return toReading(result['metric_value'] ?? null);
  }
  const metrics = result['metrics'];
  if (isJsonObject(metrics) && Object.hasOwn(metrics, name))
    return toReading(metrics[name] ?? null);
  if (Object.hasOwn(result, name)) return toReading(result[name] ?? null);
  return { kind: 'missing' };
}

function toReading(value: Json): MetricReading {
  if (typeof value === 'number' && Number.isFinite(value)) return { kind: 'value', value };
  if (typeof value === 'number') return { kind: 'unusable', found: String(value) };
  const name = nonFiniteName(value);
  if (name !== null) return { kind: 'unusable', found: name };
  if (value === null || typeof value === 'boolean')
    return { kind: 'unusable', found: String(value) };
  if (typeof value === 'string') return { kind: 'unusable', found: 'a text' };
  return { kind: 'unusable', found: Array.isArray(value) ? 'a list' : 'an object' };
}

/**
 * Reads a metric from console output: its name at the beginning of a word, `:` or `=`, and a plain
 * decimal or exponent number, case ignored; the last one counts. `nan`, `inf` and `.5` do not match.
 */
export function readConsoleMetric(output: string, name: string): MetricReading {
  const escaped = name.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  const pattern = new RegExp(
    `(?<![\\p{L}\\p{N}_])${escaped}\\s*[:=]\\s*([-+]?\\d+(?:\\.\\d+)?(?:e[-+]?\\d+)?)`,
    'giu',
  );
  let last: string | undefined;
  for (const match of output.matchAll(pattern)) last = match[1];
  return last === undefined ? { kind: 'missing' } : toReading(Number(last));
}

/** The reason behind the last `validator_rejection=` of a benchmark's output; null when there is none. */
export function readRejection(output: string): string | null {
  const marker = 'validator_rejection=';
  const at = output.lastIndexOf(marker);
  if (at < 0) return null;
  const rest = output.slice(at + marker.length, at + marker.length + 200);
  return /^[\w.:-]*/.exec(rest)?.[0] ?? '';
}
