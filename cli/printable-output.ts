/**
 * Makes the bytes of a program harmless for a terminal: what is not UTF-8 is replaced, control characters (and so
 * escapes) are shown instead of obeyed, marks that change the direction of text are left out. Line breaks and tabs
 * stay; a carriage return, which would let a line write over another, becomes a line break.
 */
export interface PrintableOutput {
  push(bytes: Buffer): string;
  /** What is left: no more will come. */
  end(): string;
}

export function createPrintableOutput(): PrintableOutput {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let pending = '';
  const show = (text: string, isLast: boolean): string => {
    const all = pending + text;
    // Whether it is half of a line break only the next character tells.
    const whole = isLast ? all : all.replace(/\r+$/, '');
    pending = whole.length < all.length ? '\r' : '';
    return printable(whole);
  };
  return {
    push: (bytes) => show(decoder.decode(bytes, { stream: true }), false),
    end: () => show(decoder.decode(), true),
  };
}

function printable(text: string): string {
  const plain = text
    .replace(/\r+\n?/g, '\n')
    // oxlint-disable-next-line no-control-regex
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, (char) => inCarets(char));
  return plain
    .replace(/[\u0080-\u009f]/g, (char) => `\\x${char.charCodeAt(0).toString(16)}`)
    .replace(/[\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '');
}

function inCarets(char: string): string {
  return `^${String.fromCharCode(char.charCodeAt(0) ^ 0x40)}`;
}
