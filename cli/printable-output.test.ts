import { expect, it } from 'vitest';
import { createPrintableOutput } from './printable-output.js';

function shown(bytes: Buffer, size: number): string {
  const printable = createPrintableOutput();
  let text = '';
  for (let at = 0; at < bytes.length; at += size)
    text += printable.push(bytes.subarray(at, at + size));
  return text + printable.end();
}

it('shows terminal escapes instead of obeying them, however the bytes were cut', () => {
  const output = Buffer.from(
    '\u001b[2Jred \u001b]0;title\u0007\ttab\u0000\u009b31m \u202eright\u202c\n',
  );
  for (const size of [1, 2, 3, 64]) {
    expect(shown(output, size)).toBe('^[[2Jred ^[]0;title^G\ttab^@\\x9b31m right\n');
  }
});

it('keeps UTF-8 and replaces what is none', () => {
  const output = Buffer.concat([
    Buffer.from('größer 漢字 '),
    Buffer.from([0xff, 0xc3]),
    Buffer.from('\n'),
  ]);
  for (const size of [1, 4, 64]) expect(shown(output, size)).toBe('größer 漢字 \ufffd\ufffd\n');
});

it('makes a carriage return a line break, and one line break of both', () => {
  for (const size of [1, 2, 64])
    expect(shown(Buffer.from('1%\r2%\r\r\nend\r'), size)).toBe('1%\n2%\nend\n');
});
