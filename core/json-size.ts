import type { Json } from './json.js';

/** Bytes of a value as JSON text in UTF-8; without an encoder, which the workflow sandbox types do not promise. */
export function jsonSizeBytes(value: Json | object): number {
  const text = JSON.stringify(value);
  let bytes = text.length;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit < 0x80) continue;
    // A surrogate pair is two units here and four bytes there.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff) ? 1 : 2;
  }
  return bytes;
}
