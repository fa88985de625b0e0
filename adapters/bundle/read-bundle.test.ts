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

describe('a chain that its forger linked anew', () => {
  const head = (lines: number): string =>
    `{"format":"adit-bundle","version":1,"lines":${lines},"runId":"r","roundId":"r","pipeline":"p","status":"s"}`;
  const step = '{"record":"step","name":"a","value":{}}';
  const linked = (...bodies: readonly (string | Buffer)[]): Buffer => {
    let link = '';
    const lines = bodies.map((body) => {
      link = createHash('sha256').update(link).update(body).digest('hex');
      return Buffer.concat([Buffer.from(`${link} `), Buffer.from(body), Buffer.from('\n')]);
    });
    return Buffer.concat([
      entry('bundle.chain', Buffer.concat(lines)),
      Buffer.alloc(TAR_END_BYTES),
    ]);
  };
  const file = (sizeBytes: number, more = ''): string =>
    `{"file":"${'0'.repeat(64)}","sizeBytes":${sizeBytes},"role":"evidence"${more}}`;
  const written = 'its JSON is not written as Adit writes it';
  const strange = 'it is not what such a line may hold';

  it('is whole where it is as Adit writes it', async () => {
    expect(await problemsOf(linked(head(2), step))).toEqual([]);
  });

  it.each([
    ['a member twice', step.replace('{}', '{"a":1,"a":2}'), written],
    ['a blank', step.replace(',', ', '), written],
    ['a carriage return', `${step}\r`, written],
    ['a number that is none', step.replace('{}', '{"a":1e999}'), written],
    ['NaN', step.replace('{}', '{"a":NaN}'), 'it is no JSON object'],
    ['bytes that are no UTF-8', Buffer.from(step.replace('"a"', '"\xff"'), 'latin1'), written],
    ['another order of members', '{"name":"a","record":"step","value":{}}', strange],
    ['one member more', '{"record":"step","name":"a","value":{},"file":"x"}', strange],
    ['a kind of its own', step.replace('step', 'stepp'), strange],
    ['a size that is none', file(-1), strange],
    ['a file with a name', file(0, ',"name":"b"'), strange],
  ])('with %s', async (_what, body, message) => {
    const [problem] = await problemsOf(linked(head(2), body));
    expect(problem?.place).toMatch(/^bundle\.chain, line 2/);
    expect(problem?.message).toBe(message);
  });

  it('with one record twice', async () => {
    expect(await problemsOf(linked(head(3), step, step))).toEqual([
      { place: 'bundle.chain, line 3 (step a)', message: 'there is an earlier line like it' },
    ]);
  });

  it('with JSON of which a parser makes gigabytes', async () => {
    const nested = step.replace('{}', `{"a":${'['.repeat(4_000_000)}${']'.repeat(4_000_000)}}`);
    expect(await problemsOf(linked(head(2), nested))).toEqual([
      { place: 'bundle.chain, line 2', message: expect.stringContaining('values up to here') },
    ]);
    const deep = step.replace('{}', `{"a":${'['.repeat(1_000)}${']'.repeat(1_000)}}`);
    expect(await problemsOf(linked(head(2), deep))).toEqual([
      { place: 'bundle.chain, line 2', message: expect.stringContaining('nested too deeply') },
    ]);
  });

  it('of a version whose first line is another one', async () => {
    const newer = linked('{"format":"adit-bundle","version":2,"what":"else"}', 'anything');
    await expect(problemsOf(newer)).rejects.toThrow('it is a bundle of version 2');
  });

  it('names a changed byte of the entry of a file that is not in it', async () => {
    const chain = linked(head(2), file(5)).subarray(0, -TAR_END_BYTES);
    const absent = entry(`missing/${'0'.repeat(64)}`, Buffer.alloc(0));
    const end = Buffer.alloc(TAR_END_BYTES);
    expect(await problemsOf(Buffer.concat([chain, absent, end]))).toEqual([]);
    for (const at of [0, 9, 100, 124, 150, 156, 300, 511]) {
      const changed = Buffer.from(absent);
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
      expect(await problemsOf(Buffer.concat([chain, changed, end]))).toEqual([
        { place: `the header of missing/${'0'.repeat(64)}`, message: expect.any(String) },
      ]);
    }
  });
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
