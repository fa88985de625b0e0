/**
 * A stranger's text as it may be shown and stored: on one line, without control characters (and so
 * without terminal escapes) or characters that change the direction of text, at most `maxLength` long.
 */
export function plainText(text: string, maxLength = 500): string {
  const line = text
    .slice(0, maxLength * 4)
    // oxlint-disable-next-line no-control-regex
    .replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ')
    .replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '')
    .trim();
  const points = Array.from(line);
  return points.length <= maxLength ? line : `${points.slice(0, maxLength - 1).join('')}…`;
}
