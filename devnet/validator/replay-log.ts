/** The log of one replay: redacted and bounded before it leaves the machine. */

/** Characters that a posted log may have. */
export const LOG_CHARACTERS = 128_000;
/** Characters of the log in a second try (protocol 4.7). */
export const RETRY_LOG_CHARACTERS = 8_192;

const SHORTEST_REDACTED = 4;

/** Replaces every environment value of four or more characters, longest first, by `[REDACTED]`. */
export function redact(text: string, environment: Readonly<Record<string, string>>): string {
  const values = Object.values(environment)
    .filter((value) => value.length >= SHORTEST_REDACTED)
    .sort((left, right) => right.length - left.length);
  return values.reduce((redacted, value) => redacted.replaceAll(value, '[REDACTED]'), text);
}

/** Head and tail of a text that is longer than `characters`. */
export function shorten(text: string, characters: number): string {
  if (text.length <= characters) {
    return text;
  }
  const gap = `\n[... ${text.length - characters} characters left out ...]\n`;
  const kept = characters - gap.length;
  const head = text.slice(0, Math.ceil(kept / 2));
  const tail = text.slice(text.length - Math.floor(kept / 2));
  // A cut through a surrogate pair would leave half a character.
  return `${head.replace(/[\ud800-\udbff]$/, '?')}${gap}${tail.replace(/^[\udc00-\udfff]/, '?')}`;
}
