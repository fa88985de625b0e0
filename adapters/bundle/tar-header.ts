/**
 * Headers of a tar archive (POSIX ustar) in the one spelling that a bundle has: made, and compared byte by byte. There
 * is no parser, so nothing that a hostile archive could say is ever obeyed: no link, no sparse file, no other path.
 */

export const TAR_BLOCK_BYTES = 512;

/** An archive ends with two empty blocks. */
export const TAR_END_BYTES = 2 * TAR_BLOCK_BYTES;

const MOST_OCTAL = 0o77777777777;

/** The header of a regular file; `name` is ASCII, at most 100 characters. */
export function tarHeader(name: string, sizeBytes: number): Buffer {
  const header = Buffer.alloc(TAR_BLOCK_BYTES);
  header.write(name, 0, 100, 'latin1');
  header.write('0000444\0', 100, 'latin1');
  header.write('0000000\0', 108, 'latin1');
  header.write('0000000\0', 116, 'latin1');
  if (sizeBytes <= MOST_OCTAL) {
    header.write(`${sizeBytes.toString(8).padStart(11, '0')}\0`, 124, 'latin1');
  } else {
    // From 8 GiB on: the binary form that GNU, BSD and Python read.
    header[124] = 0x80;
    header.writeBigUInt64BE(BigInt(sizeBytes), 128);
  }
  header.write('00000000000\0', 136, 'latin1');
  header.write('        ', 148, 'latin1');
  header.write('0', 156, 'latin1');
  header.write('ustar\u000000', 257, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/** How many zero bytes follow the bytes of a file. */
export function tarPadding(sizeBytes: number): number {
  return (TAR_BLOCK_BYTES - (sizeBytes % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES;
}

/** What a block that should be a header says of itself, for a message: never to be obeyed. */
export function describeTarHeader(block: Buffer): { readonly name: string; readonly size: number } {
  const text = (from: number, length: number): string =>
    block
      .subarray(from, from + length)
      .toString('latin1')
      .replace(/\0.*$/s, '');
  const [prefix, name] = [text(345, 155), text(0, 100)];
  const size =
    block[124] === 0x80
      ? Number(block.readBigUInt64BE(128))
      : Number.parseInt(text(124, 12).trim() || 'x', 8);
  return { name: prefix === '' ? name : `${prefix}/${name}`, size };
}
