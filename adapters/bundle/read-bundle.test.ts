import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { entry, partsOf, ROUND_BUNDLE, ROUND_ROOT } from '../../test/support/bundles.js';
import { createSeeded } from '../../test/support/seeded.js';
import { writeChain, type BundleProblem } from './chain.js';
import { openBundle } from './read-bundle.js';
import { TAR_END_BYTES, tarHeader } from './tar-header.js';

const FLIPS = 2_000;

let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-bundle-'));
  file = path.join(folder, 'round.tar');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function problemsOf(bytes?: Buffer): Promise<readonly BundleProblem[]> {
  if (bytes !== undefined) await writeFile(file, bytes);
  const bundle = await openBundle(file);
  await bundle.close();
  return bundle.problems;
}

describe('a bundle', () => {
  const round = readFileSync(ROUND_BUNDLE);

  it('is compared whole, and has the root that its run told', async () => {
    const bundle = await openBundle(ROUND_BUNDLE);
    await bundle.close();
    expect(bundle.problems).toEqual([]);
    expect(bundle.absent).toEqual([]);
    expect(bundle.chain.root).toBe(ROUND_ROOT);
    expect(bundle.chain.files.length).toBeGreaterThan(20);
  });

  it('is an archive that tar reads', () => {
    const listed = spawnSync('tar', ['tf', ROUND_BUNDLE], { encoding: 'utf8' });
    expect(listed.stderr).toBe('');
    const names = listed.stdout.trim().split('\n');
    expect(names[0]).toBe('bundle.chain');
    expect(names.slice(1).every((name) => /^files\/[0-9a-f]{64}$/.test(name))).toBe(true);
  });

  it(`names the part of each of ${FLIPS} changed bytes`, { timeout: 600_000 }, async () => {
    const parts = partsOf(round);
    const draw = createSeeded('flips');
    await writeFile(file, round);
    const handle = await open(file, 'r+');
    const named = new Set<string>();
    try {
      for (let flip = 0; flip < FLIPS; flip += 1) {
        const at = draw.between(0, round.length - 1);
        const was = round.readUInt8(at);
        await handle.write(Buffer.of(was ^ draw.between(1, 255)), 0, 1, at);
        const [first] = await problemsOf();
        const { place } = parts.findLast(({ from }) => from <= at) ?? { place: '' };
        const isThere = first?.place === place || first?.place.startsWith(`${place} (`) === true;
        if (!isThere) throw new Error(`byte ${at} in ${place}: ${JSON.stringify(first)}`);
        named.add(place);
        await handle.write(Buffer.of(was), 0, 1, at);
      }
    } finally {
      await handle.close();
    }
    expect(named.size).toBeGreaterThan(parts.length / 2);
    expect(await problemsOf()).toEqual([]);
  });

  it('is never taken for whole when its end is missing', async () => {
    const draw = createSeeded('cuts');
    for (let cut = 0; cut < 100; cut += 1) {
      const bytes = round.subarray(0, draw.between(0, round.length - 1));
      const problems = await problemsOf(bytes).catch((error: unknown) => [error]);
      expect(problems).not.toEqual([]);
      expect((problems[0] as Error).message).toMatch(/cut off/);
    }
  });

  it('names what follows its end', async () => {
    expect(await problemsOf(Buffer.concat([round, Buffer.from('x')]))).toEqual([
      { place: 'the end of the archive', message: '1 bytes follow it' },
    ]);
  });
});

describe('what is no bundle is refused with a reason', () => {
  const head = { runId: 'r', roundId: 'r', pipeline: 'p', status: 'succeeded' };

  it.each([
    ['a compressed one', gzipSync(Buffer.alloc(100_000_000)), 'it is compressed (gzip)'],
    ['a zip', Buffer.from('PK\u0003\u0004'.padEnd(600, '\0')), 'it is compressed (zip)'],
    ['an empty file', Buffer.alloc(0), 'it has 0 bytes: it is cut off, or no bundle'],
    ['some text', Buffer.from('text\n'.repeat(200)), 'it begins with'],
    [
      'another archive',
      entry('../../etc/passwd', Buffer.from('root')),
      'it begins with "../../etc/passwd", not with bundle.chain',
    ],
    [
      'a chain that claims more than there is',
      tarHeader('bundle.chain', 1_000_000),
      'it is cut off in bundle.chain: 0 of 1000000 bytes are there',
    ],
    [
      'a chain that claims to be huge',
      tarHeader('bundle.chain', 2 ** 40),
      'its chain claims 1099511627776 bytes',
    ],
    ['one of a newer build', newer(), 'it is a bundle of version 2; this build reads version 1'],
  ])('%s', async (_what, bytes, message) => {
    await expect(problemsOf(bytes)).rejects.toThrow(message);
  });

  it('a folder', async () => {
    await expect(openBundle(folder)).rejects.toThrow('it is a folder, or no regular file');
    await expect(openBundle('/dev/null')).rejects.toThrow('it is a folder, or no regular file');
  });

  function newer(): Buffer {
    // The same chain, its first line said to be of another version, and linked anew.
    const { text } = writeChain(head, []);
    const body = text.slice(65).replace('"version":1', '"version":2');
    const link = createHash('sha256').update(body.trimEnd()).digest('hex');
    return Buffer.concat([
      entry('bundle.chain', Buffer.from(`${link} ${body}`)),
      Buffer.alloc(TAR_END_BYTES),
    ]);
  }
});

describe('an entry that is not what the chain asks for', () => {
  const sha256 = '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881';
  const chain = Buffer.from(
    writeChain({ runId: 'r', roundId: 'r', pipeline: 'p', status: 'succeeded' }, [
      { file: sha256, sizeBytes: 1, role: 'evidence' },
    ]).text,
  );
  const withEntry = (...rest: Buffer[]): Buffer =>
    Buffer.concat([entry('bundle.chain', chain), ...rest, Buffer.alloc(TAR_END_BYTES)]);
  const typed = (type: string): Buffer => {
    const bytes = entry(`files/${sha256}`, Buffer.from('x'));
    bytes.write(type, 156, 'latin1');
    return bytes;
  };

  it('is taken when it is', async () => {
    expect(await problemsOf(withEntry(entry(`files/${sha256}`, Buffer.from('x'))))).toEqual([]);
  });

  it.each([
    [
      'a path that leads out',
      entry('../evil', Buffer.from('x')),
      'it names "../evil", a path that leads out of the bundle',
    ],
    ['an absolute path', entry('/etc/cron.d/x', Buffer.from('x')), 'a path that leads out'],
    ['a link', typed('2'), 'it is no regular file: type "2"'],
    ['a sparse file', typed('S'), 'it is no regular file: type "S"'],
    ['another file', entry(`files/${'0'.repeat(64)}`, Buffer.from('x')), 'it is not the header'],
  ])('%s', async (_what, bytes, message) => {
    const problems = await problemsOf(withEntry(bytes));
    expect(problems[0]?.place).toBe(`the header of files/${sha256}`);
    expect(problems[0]?.message).toContain(message);
  });

  it('other bytes', async () => {
    expect(await problemsOf(withEntry(entry(`files/${sha256}`, Buffer.from('y'))))).toEqual([
      { place: `files/${sha256}`, message: expect.stringContaining('its bytes have the digest') },
    ]);
  });
});
