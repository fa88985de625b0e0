/**
 * The tracked files of a checkout, read by ourselves. Our git never looks into a checkout once it is
 * made: not even a planted repository in a submodule's place can then run its configuration.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readlink } from 'node:fs/promises';
import path from 'node:path';

/** An entry of a git tree. */
export interface TreeEntry {
  /** `100644`, `100755`, `120000` (link) or `160000` (submodule). */
  readonly mode: string;
  readonly object: string;
}

export type Tree = ReadonlyMap<string, TreeEntry>;

/** Parses the output of `git ls-tree -r -z`. */
export function parseTree(listing: Buffer): Tree {
  const tree = new Map<string, TreeEntry>();
  for (const line of listing.toString('utf8').split('\0')) {
    const match = /^(\d{6}) (?:blob|commit) ([0-9a-f]{40})\t([^]+)$/.exec(line);
    if (match === null) continue;
    const [, mode = '', object = '', name = ''] = match;
    tree.set(name, { mode, object });
  }
  return tree;
}

/** What lies in the checkout now at a tracked path; null when there is no file. */
export async function readEntry(
  checkout: string,
  file: string,
  was: TreeEntry,
  directories: DirectoryCheck,
): Promise<TreeEntry | null> {
  // A submodule is an empty directory for the validator and for us.
  if (was.mode === '160000') return was;
  if (!(await directories(path.posix.dirname(file)))) return null;
  const absolute = path.join(checkout, file);
  const found = await lstat(absolute).catch(() => null);
  if (found === null) return null;
  if (found.isSymbolicLink()) {
    return { mode: '120000', object: hashBlob(await readlink(absolute, { encoding: 'buffer' })) };
  }
  if (!found.isFile()) return null;
  return {
    mode: (found.mode & 0o100) === 0 ? '100644' : '100755',
    object: await hashFile(absolute, found.size),
  };
}

/** True when a directory inside the checkout is one, all the way: no link leads out of the checkout. */
export type DirectoryCheck = (directory: string) => Promise<boolean>;

/** Creates a check that remembers its answers; make a new one for each look at the checkout. */
export function createDirectoryCheck(checkout: string): DirectoryCheck {
  const known = new Map<string, Promise<boolean>>();
  const check = (directory: string): Promise<boolean> => {
    if (directory === '.' || directory === '') return Promise.resolve(true);
    let answer = known.get(directory);
    if (answer === undefined) {
      answer = (async () => {
        if (!(await check(path.posix.dirname(directory)))) return false;
        const found = await lstat(path.join(checkout, directory)).catch(() => null);
        return found?.isDirectory() === true;
      })();
      known.set(directory, answer);
    }
    return answer;
  };
  return check;
}

async function hashFile(file: string, sizeBytes: number): Promise<string> {
  const hash = createHash('sha1').update(`blob ${sizeBytes}\0`);
  // A file that grows meanwhile gets a digest that no tree has, and so counts as changed.
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

function hashBlob(bytes: Buffer): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}

/** Paths at which two trees differ, sorted. */
export function changedPaths(before: Tree, after: Tree): string[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names]
    .filter((name) => {
      const a = before.get(name);
      const b = after.get(name);
      return a?.object !== b?.object || a?.mode !== b?.mode;
    })
    .sort();
}
