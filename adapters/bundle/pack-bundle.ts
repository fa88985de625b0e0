/**
 * A bundle as one file: a plain tar archive, so that any system can open it.
 *
 *   bundle.chain
 *   files/<sha256>       the bytes of a file, in the order of the chain
 *   missing/<sha256>     empty, in its place: this machine does not have it
 *   secret/<sha256>      empty, in its place: it holds what looks like a secret
 *   left-out/<sha256>    empty, in its place: an artifact that was not wanted
 *
 * There is one archive for a chain and what is absent, byte for byte: `read-bundle.ts` compares with it.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, open, rename, rm, type FileHandle } from 'node:fs/promises';
import type { Store } from '../store/store.js';
import { readChain, type BundleFile } from './chain.js';
import { TAR_BLOCK_BYTES, TAR_END_BYTES, tarHeader, tarPadding } from './tar-header.js';

export const CHAIN_NAME = 'bundle.chain';

/** Why a file is named by a bundle and not in it. */
export const ABSENCES = ['missing', 'secret', 'left-out'] as const;
export type Absence = (typeof ABSENCES)[number];

export interface PackedBundle {
  readonly root: string;
  readonly sizeBytes: number;
  /** Files that the bundle names and does not have. */
  readonly absent: readonly { readonly file: BundleFile; readonly why: Absence }[];
}

/** A chain that has been changed since the run's end. */
export class ChainDamaged extends Error {}

/**
 * Writes a bundle, whole or not at all. `holdsSecret` says whether a file must stay here. Throws ChainDamaged; EEXIST, as
 * Node does, where `out` is there by then; the reason of `signal`.
 */
export async function packBundle(
  { chain, store, out }: { readonly chain: Buffer; readonly store: Store; readonly out: string },
  {
    withArtifacts,
    holdsSecret,
    signal,
  }: {
    readonly withArtifacts: boolean;
    readonly holdsSecret: (file: string, sizeBytes: number) => Promise<boolean>;
    readonly signal?: AbortSignal;
  },
): Promise<PackedBundle> {
  const { files, problems, root } = readChain(chain);
  const problem = problems[0];
  if (problem !== undefined) throw new ChainDamaged(`${problem.place}: ${problem.message}`);
  const absent: { file: BundleFile; why: Absence }[] = [];
  const temporary = `${out}.${randomUUID()}.tmp`;
  const handle = await open(temporary, 'wx', 0o600);
  try {
    const archive = createArchive(handle, signal);
    await archive.add(CHAIN_NAME, chain);
    for (const file of files) {
      const source = await findSource(file, store);
      // An artifact is made to be published.
      const isSecret = async (): Promise<boolean> =>
        source !== null && file.role !== 'artifact' && (await holdsSecret(source, file.sizeBytes));
      let why: Absence | null = null;
      if (file.role === 'artifact' && !withArtifacts) why = 'left-out';
      else if (await isSecret()) why = 'secret';
      else if (source === null || !(await archive.copy(file, source))) why = 'missing';
      if (why === null) continue;
      absent.push({ file, why });
      await archive.add(`${why}/${file.file}`, Buffer.alloc(0));
    }
    await archive.end();
    const sizeBytes = archive.sizeBytes();
    await handle.close();
    signal?.throwIfAborted();
    await giveName(temporary, out);
    return { root, sizeBytes, absent };
  } catch (error) {
    await handle.close().catch(() => {});
    await rm(temporary, { force: true });
    throw error;
  }
}

/** What a file system without hard links says of one, such as that of a memory stick. */
const NO_LINKS: ReadonlySet<unknown> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

async function giveName(temporary: string, out: string): Promise<void> {
  try {
    // Unlike a rename it fails when the name is taken by now.
    await link(temporary, out);
  } catch (error) {
    if (!NO_LINKS.has((error as NodeJS.ErrnoException).code)) throw error;
    await rename(temporary, out);
    return;
  }
  // The bundle is there, whatever becomes of its other name.
  await rm(temporary, { force: true }).catch(() => {});
}

async function findSource({ file, sizeBytes }: BundleFile, store: Store): Promise<string | null> {
  const found = await store.find(file);
  return found?.sizeBytes === sizeBytes ? store.locate(found) : null;
}

function createArchive(handle: FileHandle, signal?: AbortSignal) {
  let at = 0;
  async function write(bytes: Buffer): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      signal?.throwIfAborted();
      const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, at);
      done += bytesWritten;
      at += bytesWritten;
    }
  }
  return {
    sizeBytes: () => at,

    async add(name: string, bytes: Buffer): Promise<void> {
      await write(tarHeader(name, bytes.length));
      await write(bytes);
      await write(Buffer.alloc(tarPadding(bytes.length)));
    },

    /** False, and nothing of it kept, when the bytes are no longer those of the digest. */
    async copy({ file, sizeBytes }: BundleFile, source: string): Promise<boolean> {
      const begin = at;
      await write(tarHeader(`files/${file}`, sizeBytes));
      const hash = createHash('sha256');
      for await (const piece of createReadStream(source, { highWaterMark: 1024 * 1024 })) {
        hash.update(piece as Buffer);
        await write(piece as Buffer);
      }
      if (at === begin + TAR_BLOCK_BYTES + sizeBytes && hash.digest('hex') === file) {
        await write(Buffer.alloc(tarPadding(sizeBytes)));
        return true;
      }
      await handle.truncate(begin);
      at = begin;
      return false;
    },

    async end(): Promise<void> {
      await write(Buffer.alloc(TAR_END_BYTES));
      await handle.sync();
    },
  };
}
