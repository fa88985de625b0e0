/** Far deeper than what anybody writes, and far from where recursion over a value ends in a stack overflow. */
const DEEPEST = 200;

export interface JsonBounds {
  readonly isTooDeep: boolean;
  /** At least as many as the text has: lists, objects, and what stands between commas. */
  readonly values: number;
}

/**
 * How deeply JSON text is nested, and how many values it has, told from its bytes before anything is made of them: of a
 * few megabytes of `{},{},` a parser makes gigabytes. Text that is no JSON has bounds, too.
 */
export function measureJson(text: Uint8Array): JsonBounds {
  let depth = 0;
  let deepest = 0;
  let values = 1;
  let inString = false;
  for (let at = 0; at < text.length; at += 1) {
    const byte = text[at];
    if (inString) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte === COMMA) values += 1;
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      values += 1;
      depth += 1;
      if (depth > deepest) deepest = depth;
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth -= 1;
  }
  return { isTooDeep: deepest > DEEPEST, values };
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
