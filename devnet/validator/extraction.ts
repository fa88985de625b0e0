/** How a validator reads metrics (task-repositories 6): from the result file, else from the console text. */
import { parsePythonJson, type PythonJson } from './python-json.js';

/** The file cannot be used, or does not hold the metric: the replay ends as `error`. */
export class ResultUnusable extends Error {}

/**
 * The metric in a result file's text. First hit wins: `metric_name` is the wanted one and `metric_value` exists;
 * `metrics[name]`; the top-level member. Undefined when there is none of them.
 *
 * Throws ResultUnusable when the text is not JSON or a string value is not a number. Throws a TypeError for null,
 * a list or an object, which the engine does not catch either: it ends the validator's cycle.
 */
export function metricFromResult(text: string, name: string): number | undefined {
  const result = parseResult(text);
  if (!(result instanceof Map)) {
    return undefined;
  }
  if (result.get('metric_name') === name && result.has('metric_value')) {
    return toFloat(result.get('metric_value') ?? null);
  }
  const metrics = result.get('metrics');
  if (metrics instanceof Map && metrics.has(name)) {
    return toFloat(metrics.get(name) ?? null);
  }
  return result.has(name) ? toFloat(result.get(name) ?? null) : undefined;
}

function parseResult(text: string): PythonJson {
  try {
    return parsePythonJson(text);
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new ResultUnusable(`result file is not valid JSON: ${error.message}`);
    }
    throw error;
  }
}

/** Python's `float()`: true is 1.0, numeric strings count, NaN and infinities pass. */
function toFloat(value: PythonJson): number {
  if (typeof value === 'number') {
    return value;
  }
  if (typeof value === 'boolean') {
    return value ? 1 : 0;
  }
  if (typeof value === 'string') {
    return floatOfText(value);
  }
  throw new TypeError(`A metric must be a string or a number, not ${kindOf(value)}.`);
}

function kindOf(value: null | PythonJson[] | Map<string, PythonJson>): string {
  if (value === null) {
    return 'null';
  }
  return value instanceof Map ? 'an object' : 'a list';
}

const DIGITS = '[0-9](?:_?[0-9])*';
const FLOAT = new RegExp(
  `^[+-]?(?:(?:${DIGITS}(?:\\.(?:${DIGITS})?)?|\\.${DIGITS})(?:e[+-]?${DIGITS})?|inf(?:inity)?|nan)$`,
  'i',
);

function floatOfText(text: string): number {
  const trimmed = text.trim();
  if (!FLOAT.test(trimmed)) {
    throw new ResultUnusable(`metric value ${JSON.stringify(text.slice(0, 80))} is not a number`);
  }
  if (/nan$/i.test(trimmed)) {
    return Number.NaN;
  }
  if (/inf/i.test(trimmed)) {
    return trimmed.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }
  return Number(trimmed.replaceAll('_', ''));
}

/** The last `name: number` or `name=number` of a text, case ignored; undefined when there is none. */
export function metricFromText(text: string, name: string): number | undefined {
  const escaped = name.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  const expression = new RegExp(
    `(?<![\\p{L}\\p{N}_])${escaped}\\s*[:=]\\s*([-+]?[0-9]+(?:\\.[0-9]+)?(?:e[-+]?[0-9]+)?)`,
    'giu',
  );
  const last = [...text.matchAll(expression)].at(-1)?.[1];
  return last === undefined ? undefined : Number(last);
}
