import { parseDuration } from '../core/duration.js';

/** How others write units. */
const UNITS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ms: 'msec msecs millisecond milliseconds',
    s: 'sec secs second seconds',
    m: 'min mins minute minutes',
    h: 'hr hrs hour hours',
    d: 'day days',
  }).flatMap(([unit, words]) => [unit, ...words.split(' ')].map((word) => [word, unit] as const)),
);

/** How to write what was meant by a text or number that is not a duration. */
export function durationHint(written: unknown): string {
  if (typeof written === 'number' && written > 0)
    return `give it a unit: \`${written}s\`, \`${written}m\` or \`${written}h\``;
  const text = typeof written === 'string' ? written.trim() : '';
  if (/^\d{4}-\d{2}-\d{2}/.test(text))
    return 'that is a moment: write `wait: { until: 2026-01-31T12:00:00Z }`';
  if (text.includes('${{')) return 'an expression cannot stand here: it is settled before the run';
  if (/^\d{1,6}$/.test(text)) return durationHint(Number(text));
  if (written === 0 || written === null || /^(?:[0.]+[a-z]*|none|never|off|no)$/i.test(text))
    return 'a duration is longer than nothing; for none leave it out';
  const mended = text
    .slice(0, 60)
    .toLowerCase()
    .replace(/^pt(?=\d)/, '')
    .replaceAll(/([a-z]+)|[\s,]+/g, (_all, word?: string) =>
      word === undefined ? '' : (UNITS.get(word) ?? word),
    );
  return parseDuration(mended) === null
    ? 'write a number and a unit, such as `90s`, `15m`, `1h30m` or `2d`'
    : `write \`${mended}\``;
}
