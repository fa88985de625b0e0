import { formatDuration } from '../core/duration.js';
import type { Json } from '../core/json.js';
import { clean } from './output.js';

/** A step's or program's status for people: phase, step of total, loss, ETA, then whatever else it tells. */
export function statusWords(status: { readonly [name: string]: Json }): string {
  const { phase, step, total, loss, elapsed: _elapsed, eta, ...others } = status;
  const words: string[] = [];
  if (typeof phase === 'string') words.push(clean(phase, 40));
  // A step that reports nothing else says only its own path, which stands before this text.
  if (typeof step === 'number')
    words.push(`step ${step}${typeof total === 'number' ? `/${total}` : ''}`);
  if (typeof loss === 'number') words.push(`loss ${number(loss)}`);
  if (typeof eta === 'number') words.push(`ETA ${formatDuration(eta * 1000)}`);
  for (const [name, value] of Object.entries(others).slice(0, 6)) {
    words.push(`${clean(name, 40)} ${shown(value)}`);
  }
  return words.join('  ');
}

function shown(value: Json): string {
  if (typeof value === 'number') return number(value);
  return clean(typeof value === 'string' ? value : JSON.stringify(value), 120);
}

/** Five significant digits are what a person compares. */
function number(value: number): string {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)));
}
