/**
 * Reads a bundle that a stranger may have made, and finds every byte that is not as it must be.
 *
 * Invariants:
 * 1. Nothing is unpacked, and no name in it is used as a path: the archive is compared with the one that its chain asks for.
 * 2. Memory is bounded by the limits of the chain, whatever sizes are claimed: files are digested as they pass by.
 * 3. Each problem names the part that holds the wrong byte.
 */
import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import {
  BUNDLE_VERSION,
  MAX_CHAIN_BYTES,
  readChain,
  type BundleFile,
  type BundleProblem,
  type BundleRecord,
  type Chain,
} from './chain.js';
import { hashRange } from './hash-range.js';
import { ABSENCES, CHAIN_NAME, type Absence } from './pack-bundle.js';
import {
  describeTarHeader,
  TAR_BLOCK_BYTES,
  TAR_END_BYTES,
  tarHeader,
  tarPadding,
} from './tar-header.js';

/** A file that is no bundle this build could read: the message is the reason. */
export class BundleRefused extends Error {
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.name = 'BundleRefused';
    this.hint = hint;
  }
}

export interface OpenBundle {
  readonly chain: Chain;
  /** The files that are not in it, and why. */
  readonly absent: readonly { readonly file: BundleFile; readonly why: Absence }[];
  /** All that differs from what the chain asks for, in the order of the archive. */
  readonly problems: readonly BundleProblem[];
  readonly sizeBytes: number;
  /** The bytes of a file, compared with its digest again; null when it is not there, too large, or damaged. */
  read(sha256: string, mostBytes: number): Promise<Buffer | null>;
  /** The records of a kind, by name. */
  records(kind: BundleRecord['record']): readonly BundleRecord[];
  close(): Promise<void>;
}

const MAX_PROBLEMS = 100;

/** Opens a bundle and compares every byte of it. Throws BundleRefused; close what it returns. */
export async function openBundle(file: string): Promise<OpenBundle> {
  // Before it is opened: a pipe would be waited for.
  const found = await stat(file);
  if (!found.isFile()) throw new BundleRefused('it is a folder, or no regular file', NO_BUNDLE);
  const handle = await open(file, 'r');
  try {
    return await compare(handle, (await handle.stat()).size);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function compare(handle: FileHandle, size: number): Promise<OpenBundle> {
  const chainBytes = readChainBytes({ handle, size });
  const chain = chainBytes === null ? DAMAGED : readChain(chainBytes);
  assertVersion(chain);
  const problems: BundleProblem[] = [...chain.problems];
  const report = (place: string, message: string): void => {
    problems.push({ place, message });
  };
  const offsets = new Map<string, { readonly from: number; readonly sizeBytes: number }>();
  const absent: { file: BundleFile; why: Absence }[] = [];
  const walk = { handle, size, report };

  let at = TAR_BLOCK_BYTES;
  if (chainBytes !== null) {
    at += chainBytes.length;
    at = comparePadding(walk, at, chainBytes.length, CHAIN_NAME);
  }
  // What the archive must hold is known only from a chain that is whole.
  const files = chain.problems.length === 0 ? chain.files : [];
  let isLost = chain.problems.length > 0;
  for (const expected of files) {
    if (problems.length >= MAX_PROBLEMS) break;
    const name = `files/${expected.file}`;
    const block = readBytes(walk, at, TAR_BLOCK_BYTES);
    if (block.length < TAR_BLOCK_BYTES) {
      report(name, `the bundle is cut off before it, at byte ${size}`);
      isLost = true;
      break;
    }
    const why = ABSENCES.find((kind) => block.equals(tarHeader(`${kind}/${expected.file}`, 0)));
    if (why !== undefined) {
      absent.push({ file: expected, why });
      at += TAR_BLOCK_BYTES;
      continue;
    }
    if (!block.equals(tarHeader(name, expected.sizeBytes))) {
      const almost = ABSENCES.find((kind) => isAlmost(block, `${kind}/${expected.file}`, 0));
      if (almost !== undefined && !isAlmost(block, name, expected.sizeBytes)) {
        report(`the header of ${almost}/${expected.file}`, strangeHeader(block));
        at += TAR_BLOCK_BYTES;
        continue;
      }
      report(`the header of ${name}`, strangeHeader(block));
      if (!isAlmost(block, name, expected.sizeBytes)) {
        isLost = true;
        break;
      }
    }
    at += TAR_BLOCK_BYTES;
    const { sha256, readBytes: there } = await hashRange(handle, at, expected.sizeBytes);
    if (there < expected.sizeBytes) {
      report(
        name,
        `the bundle is cut off in it: ${there} of ${expected.sizeBytes} bytes are there`,
      );
      isLost = true;
      break;
    }
    if (sha256 !== expected.file) report(name, `its bytes have the digest ${sha256}`);
    else offsets.set(sha256, { from: at, sizeBytes: expected.sizeBytes });
    at = comparePadding(walk, at + expected.sizeBytes, expected.sizeBytes, name);
  }
  if (!isLost && problems.length < MAX_PROBLEMS) {
    const end = Buffer.alloc(TAR_END_BYTES);
    compareBytes(walk, at, end, 'the end of the archive');
    if (size > at + TAR_END_BYTES)
      report('the end of the archive', `${size - at - TAR_END_BYTES} bytes follow it`);
  }

  return {
    chain,
    absent,
    problems,
    sizeBytes: size,
    async read(sha256, mostBytes) {
      const found = offsets.get(sha256);
      if (found === undefined || found.sizeBytes > mostBytes) return null;
      const bytes = readBytes(walk, found.from, found.sizeBytes);
      return createHash('sha256').update(bytes).digest('hex') === sha256 ? bytes : null;
    },
    records: (kind) => chain.records.filter(({ record }) => record === kind),
    close: () => handle.close(),
  };
}

/** Null when the header in front of the chain is damaged, so that its length is not known. Throws BundleRefused. */
function readChainBytes(archive: Pick<Walk, 'handle' | 'size'>): Buffer | null {
  const { size } = archive;
  const block = readBytes(archive, 0, TAR_BLOCK_BYTES);
  const packed = COMPRESSED.find(([, magic]) => block.subarray(0, magic.length).equals(magic));
  if (packed !== undefined) {
    throw new BundleRefused(
      `it is compressed (${packed[0]}), and a bundle never is: what is small can become anything`,
      'Unpack it yourself, if you trust it, and give the plain file.',
    );
  }
  if (block.length < TAR_BLOCK_BYTES)
    throw new BundleRefused(`it has ${size} bytes: it is cut off, or no bundle`, NO_BUNDLE);
  const { name, size: length } = describeTarHeader(block);
  if (!isHeaderOfChain(block)) {
    throw new BundleRefused(
      name === '' ? 'it is no archive' : `it begins with ${show(name)}, not with ${CHAIN_NAME}`,
      NO_BUNDLE,
    );
  }
  if (!Number.isSafeInteger(length) || !block.equals(tarHeader(CHAIN_NAME, length))) return null;
  if (length > MAX_CHAIN_BYTES) {
    throw new BundleRefused(
      `its chain claims ${length} bytes; at most ${MAX_CHAIN_BYTES} are read`,
      NO_BUNDLE,
    );
  }
  const bytes = readBytes(archive, TAR_BLOCK_BYTES, length);
  if (bytes.length < length) {
    throw new BundleRefused(
      `it is cut off in ${CHAIN_NAME}: ${bytes.length} of ${length} bytes are there`,
      'Fetch it again.',
    );
  }
  return bytes;
}

const DAMAGED: Chain = {
  head: null,
  version: null,
  records: [],
  files: [],
  root: '',
  problems: [
    { place: `the header of ${CHAIN_NAME}`, message: 'it is not as it must be: it was changed' },
  ],
};

/** True for the header of the chain, size and sum left aside, with a wrong byte or two. */
function isHeaderOfChain(block: Buffer): boolean {
  const expected = tarHeader(CHAIN_NAME, 0);
  let differing = 0;
  for (const [index, byte] of block.entries()) {
    const counts = (index < 124 || index >= 136) && (index < 148 || index >= 156);
    differing += counts && byte !== expected[index] ? 1 : 0;
  }
  return differing <= MOST_WRONG_BYTES;
}

const NO_BUNDLE = 'Give the file that `adit bundle` wrote.';

const COMPRESSED: ReadonlyArray<readonly [string, Buffer]> = [
  ['gzip', Buffer.from([0x1f, 0x8b])],
  ['zip', Buffer.from('PK')],
  ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
  ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a])],
  ['bzip2', Buffer.from('BZh')],
];

/** Throws for a bundle of a build that is newer than this one; a head that was changed is a problem like others. */
function assertVersion({ version }: Chain): void {
  if (version === null || version === BUNDLE_VERSION) return;
  throw new BundleRefused(
    `it is a bundle of version ${version}; this build reads version ${BUNDLE_VERSION}`,
    'Use the build of Adit that wrote it, or a newer one.',
  );
}

interface Walk {
  readonly handle: FileHandle;
  readonly size: number;
  readonly report: (place: string, message: string) => void;
}

function compareBytes(walk: Walk, at: number, expected: Buffer, place: string): void {
  const { size, report } = walk;
  const bytes = readBytes(walk, at, expected.length);
  if (bytes.length < expected.length) report(place, `the bundle is cut off in it, at byte ${size}`);
  else if (!bytes.equals(expected))
    report(place, `byte ${at + differsAt(bytes, expected)} differs`);
}

/** Compares what fills up the last block of a file; returns where the next one begins. */
function comparePadding(walk: Walk, at: number, sizeBytes: number, name: string): number {
  const padding = Buffer.alloc(tarPadding(sizeBytes));
  compareBytes(walk, at, padding, `the filling after ${name}`);
  return at + padding.length;
}

function differsAt(bytes: Buffer, expected: Buffer): number {
  return bytes.findIndex((byte, index) => byte !== expected[index]);
}

/** True when a header differs from the expected one in a byte or two: the rest is where it should be. */
function isAlmost(block: Buffer, name: string, sizeBytes: number): boolean {
  const expected = tarHeader(name, sizeBytes);
  let differing = 0;
  for (const [index, byte] of block.entries()) differing += byte === expected[index] ? 0 : 1;
  return differing <= MOST_WRONG_BYTES;
}

const MOST_WRONG_BYTES = 2;

function strangeHeader(block: Buffer): string {
  const { name } = describeTarHeader(block);
  const leaves = name.startsWith('/') || name.split('/').includes('..');
  const link = block[156] !== 0x30 && block[156] !== 0;
  if (leaves) return `it names ${show(name)}, a path that leads out of the bundle`;
  if (link) return `it is no regular file: type ${show(String.fromCharCode(block[156] ?? 0))}`;
  return `it is not the header that belongs there; it names ${show(name)}`;
}

function show(text: string): string {
  return JSON.stringify(text.slice(0, 120));
}

/**
 * What is there of a part of a file; never more is allocated than the file has. Not through the thread pool, whose turns
 * would cost more than the reading: a bundle has a few hundred of these.
 */
function readBytes(
  { handle, size }: Pick<Walk, 'handle' | 'size'>,
  from: number,
  length: number,
): Buffer {
  const bytes = Buffer.alloc(Math.max(0, Math.min(length, size - from)));
  let done = 0;
  while (done < bytes.length) {
    const read = readSync(handle.fd, bytes, done, bytes.length - done, from + done);
    if (read === 0) break;
    done += read;
  }
  return bytes.subarray(0, done);
}
