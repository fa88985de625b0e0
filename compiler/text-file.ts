/** The bytes of a file as text. */

/** Why a file is no text, and the way out, if there is one to tell. */
export interface NotText {
  readonly message: string;
  readonly hint: string;
}

/** The text of a file in UTF-8, without the mark that it may begin with; else what it is instead. */
export function decodeText(bytes: Uint8Array): string | NotText {
  const wide = { message: 'the file is not UTF-8 text', hint: WIDE };
  if (isUtf16(bytes)) return wide;
  const nul = bytes.indexOf(0);
  if (nul !== -1) {
    return {
      message: `the file is binary: line ${lineOf(bytes, nul)} holds the byte NUL`,
      hint: '',
    };
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return {
      message: `the file is not UTF-8 text: line ${firstBadLine(bytes)} holds bytes of another encoding`,
      hint: 'save it as UTF-8; it may be Latin-1 or Windows-1252, as older editors write them',
    };
  }
}

const WIDE = 'it is UTF-16, as some editors and shells write it: save it as UTF-8';
const LF = 0x0a;

/** By the mark at its beginning, or, without one, since every second byte of ASCII in it is NUL. */
function isUtf16(bytes: Uint8Array): boolean {
  const [first, second, third, fourth] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) return true;
  const [a, b] = first === 0 ? [first, third] : [second, fourth];
  const [c, d] = first === 0 ? [second, fourth] : [first, third];
  return a === 0 && b === 0 && isAscii(c) && isAscii(d);
}

function isAscii(byte: number | undefined): boolean {
  return byte !== undefined && byte > 0 && byte < 0x80;
}

/** No byte of a character of several is a line feed, so each line can be read for itself. */
function firstBadLine(bytes: Uint8Array): number {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let line = 1;
  for (let start = 0; start < bytes.length; line += 1) {
    const found = bytes.indexOf(LF, start);
    const end = found === -1 ? bytes.length : found + 1;
    try {
      decoder.decode(bytes.subarray(start, end));
    } catch {
      return line;
    }
    start = end;
  }
  return line;
}

function lineOf(bytes: Uint8Array, offset: number): number {
  let line = 1;
  for (let at = bytes.indexOf(LF); at !== -1 && at < offset; at = bytes.indexOf(LF, at + 1))
    line += 1;
  return line;
}
