/**
 * SHA-256 (FIPS 180-4) of a text of ASCII characters, as lower-case hex. Pure: the workflow sandbox has no `crypto`, and a
 * digest that an activity made would cost events. Throws RangeError for any other character.
 */
export function sha256OfAscii(text: string): string {
  const words = paddedWords(text);
  const hash = [...INITIAL];
  const schedule = new Int32Array(64);
  for (let at = 0; at < words.length; at += 16) addBlock(hash, words, at, schedule);
  return hash.map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
}

/** The bytes as big-endian words, with the end mark and the length in bits behind them. */
function paddedWords(text: string): Int32Array {
  const { length } = text;
  const words = new Int32Array((((length + 8) >> 6) + 1) * 16);
  for (let at = 0; at < length; at += 1) {
    const byte = text.charCodeAt(at);
    if (byte > 0x7f) throw new RangeError(`There is no ASCII character at ${at}.`);
    put(words, at, byte);
  }
  put(words, length, 0x80);
  words[words.length - 2] = Math.floor(length / 0x2000_0000);
  words[words.length - 1] = length << 3;
  return words;
}

function put(words: Int32Array, at: number, byte: number): void {
  const index = at >> 2;
  words[index] = (words[index] ?? 0) | (byte << (24 - (at & 3) * 8));
}

function addBlock(hash: number[], words: Int32Array, from: number, w: Int32Array): void {
  const word = (index: number): number => w[index] ?? 0;
  for (let t = 0; t < 16; t += 1) w[t] = words[from + t] ?? 0;
  for (let t = 16; t < 64; t += 1) {
    const x = word(t - 15);
    const y = word(t - 2);
    const s0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
    const s1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
    w[t] = (word(t - 16) + s0 + word(t - 7) + s1) | 0;
  }
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = hash;
  for (let t = 0; t < 64; t += 1) {
    const big1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const first = (h + big1 + ((e & f) ^ (~e & g)) + (ROUND[t] ?? 0) + word(t)) | 0;
    const big0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const second = (big0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + second) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((sum, index) => {
    hash[index] = ((hash[index] ?? 0) + sum) | 0;
  });
}

function rotate(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}

/** Square roots of the first eight primes: the first 32 bits of their fractions. */
const INITIAL: readonly number[] = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/** Cube roots of the first sixty-four primes, likewise. */
const ROUND: readonly number[] = [
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];
