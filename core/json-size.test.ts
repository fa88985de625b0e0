import { expect, test } from 'vitest';
import { jsonSizeBytes } from './json-size.js';

test.each(['plain', 'ümlaut', '€', '𝄞 clef', 'a\u2028b', '"quoted"\n'])(
  'the size of %j is that of its JSON text in UTF-8',
  (text) => {
    const value = { text, list: [1, null, true] };
    expect(jsonSizeBytes(value)).toBe(Buffer.byteLength(JSON.stringify(value)));
  },
);
