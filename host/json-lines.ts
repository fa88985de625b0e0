/** JSON objects over a socket, one a line, each of bounded length. */
import type { Socket } from 'node:net';

const NEW_LINE = 0x0a;

/** A line as it came: whoever uses a member says what it must be. */
export interface Message {
  readonly [key: string]: unknown;
}

export function toLine(value: object): string {
  return `${JSON.stringify(value)}\n`;
}

/**
 * Reads a socket's lines. After a line that is too long or no JSON object, `onBroken` is called once and
 * nothing more is read.
 */
export function readJsonLines(
  socket: Socket,
  options: {
    /** Asked for each piece: a stranger's first line may be shorter than those that follow. */
    readonly mostBytes: () => number;
    readonly onValue: (value: Message) => void;
    readonly onBroken: (why: string) => void;
  },
): void {
  let pieces: Buffer[] = [];
  let length = 0;
  const onData = (data: Buffer): void => {
    let rest = data;
    while (rest.length > 0) {
      const end = rest.indexOf(NEW_LINE);
      const piece = end === -1 ? rest : rest.subarray(0, end);
      length += piece.length;
      if (length > options.mostBytes()) {
        stop(`a line is longer than ${options.mostBytes()} bytes`);
        return;
      }
      pieces.push(piece);
      if (end === -1) return;
      const value = parse(Buffer.concat(pieces).toString('utf8'));
      pieces = [];
      length = 0;
      if (value === null) {
        stop('a line is no JSON object');
        return;
      }
      options.onValue(value);
      if (socket.destroyed) return;
      rest = rest.subarray(end + 1);
    }
  };
  const stop = (why: string): void => {
    socket.removeListener('data', onData);
    pieces = [];
    options.onBroken(why);
  };
  socket.on('data', onData);
}

function parse(line: string): Message | null {
  try {
    const value: unknown = JSON.parse(line);
    return isMessage(value) ? value : null;
  } catch {
    return null;
  }
}

export function isMessage(value: unknown): value is Message {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
