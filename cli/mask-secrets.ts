import {
  findMnemonicRanges,
  LONGEST_MNEMONIC,
  trailingWords,
  type TextRange,
} from '../adapters/secrets/mnemonics.js';

const MASK = '[masked]';

/** Shorter ones than this are no secrets, and would leave nothing of an output. */
const SHORTEST_SECRET = 4;
/** Words that may be shown before more of a mnemonic could come: too few to be worth anything. */
const HARMLESS_WORDS = 3;

/**
 * Takes the bytes of an output piece by piece and gives them back with known secrets masked. What may be the
 * beginning of one is held back until the rest decides, so it does not matter where the pieces were cut.
 */
export interface SecretMask {
  push(bytes: Buffer): Buffer;
  /** What need not wait for more: of words that could begin a mnemonic at most three. */
  settle(): Buffer;
  /** The rest: no more will come. */
  end(): Buffer;
}

/** Masks the given literal secrets and every mnemonic. */
export function createSecretMask(secrets: readonly string[]): SecretMask {
  // One byte is one character there, so offsets in the text are offsets in the output.
  const literals = secrets
    .filter((secret) => Buffer.byteLength(secret) >= SHORTEST_SECRET)
    .map((secret) => Buffer.from(secret).toString('latin1'));
  const context = Math.max(LONGEST_MNEMONIC + 1, ...literals.map(({ length }) => length));
  /** Bytes that were given back already, for what reaches over from them, and after `done` those that were not. */
  let text = '';
  let done = 0;

  function giveUpTo(safe: number): Buffer {
    if (safe <= done) return Buffer.alloc(0);
    let out = '';
    let at = done;
    for (const { start, end } of union(secretsIn(text, literals))) {
      if (end <= at) continue;
      if (start >= safe) break;
      out += text.slice(at, Math.max(at, start)) + MASK;
      at = end;
    }
    out += text.slice(at, safe);
    const given = Math.max(at, safe);
    const drop = Math.max(0, given - context);
    text = text.slice(drop);
    done = given - drop;
    return Buffer.from(out, 'latin1');
  }

  return {
    push(bytes) {
      text += bytes.toString('latin1');
      return giveUpTo(
        Math.min(literalPrefixAt(text, literals), trailingWords(text)?.at ?? text.length),
      );
    },
    settle() {
      const words = trailingWords(text);
      const waits = words !== null && words.count > HARMLESS_WORDS ? words.at : text.length;
      return giveUpTo(Math.min(literalPrefixAt(text, literals), waits));
    },
    end: () => giveUpTo(text.length),
  };
}

function secretsIn(text: string, literals: readonly string[]): TextRange[] {
  const ranges = findMnemonicRanges(text);
  for (const literal of literals) {
    for (let at = text.indexOf(literal); at >= 0; at = text.indexOf(literal, at + 1)) {
      ranges.push({ start: at, end: at + literal.length });
    }
  }
  return ranges;
}

/** Ranges that touch no other, in order. */
function union(ranges: readonly TextRange[]): TextRange[] {
  const united: TextRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.start - b.start)) {
    const last = united.at(-1);
    if (last !== undefined && range.start < last.end) {
      united[united.length - 1] = { start: last.start, end: Math.max(last.end, range.end) };
    } else united.push(range);
  }
  return united;
}

/** Where the longest beginning of a literal stands that the text ends with; its length when there is none. */
function literalPrefixAt(text: string, literals: readonly string[]): number {
  let at = text.length;
  for (const literal of literals) {
    for (
      let length = Math.min(literal.length - 1, text.length);
      length > text.length - at;
      length -= 1
    ) {
      if (text.endsWith(literal.slice(0, length))) at = text.length - length;
    }
  }
  return at;
}
