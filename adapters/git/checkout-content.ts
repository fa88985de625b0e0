/**
 * What a checkout holds, as git objects: which tracked files changed, the tree they make, and back.
 *
 * The tree of a checkout is that of its tracked files as they lie on the disk: the files of the
 * workspace's own tree, edits by `workspace.edit` included. Files that commands made are not part of it.
 */
import { randomUUID } from 'node:crypto';
import {
  chmod,
  mkdir,
  readdir,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../core/error.js';
import { plainText } from '../../core/plain-text.js';
import type { GitCommandOptions, GitCommandResult, RunGit } from './git-command.js';
import {
  createDirectoryCheck,
  parseTree,
  readEntry,
  type Tree,
  type TreeEntry,
} from './tracked-files.js';

export interface CheckoutContent {
  /** Entries of a tree or commit. Throws WORKSPACE_CHANGED when the git directory does not have it. */
  entries(treeish: string): Promise<Tree>;
  /** The bytes of a blob. */
  blob(object: string): Promise<Buffer>;
  /** The tree that the tracked files make now, and the paths at which it differs from `tree`. */
  look(tree: string): Promise<{ tree: string; changed: string[] }>;
  /** Writes files of `tree` back into the checkout; those that it does not have are removed. */
  restore(tree: string, files: readonly string[]): Promise<void>;
  /** Writes new content for tracked files; returns the new tree. */
  write(tree: string, files: ReadonlyMap<string, Buffer>): Promise<string>;
  /** Fills an empty directory with a tree. */
  checkOut(tree: string): Promise<void>;
  /** Files that are not tracked and not ignored by the checkout's own `.gitignore` files. */
  untracked(tree: string): Promise<string[]>;
  /** The tree after applying a patch to a commit; null, with git's reason, when it does not apply. */
  apply(commit: string, patch: Buffer): Promise<{ tree: string } | { reason: string }>;
  /** The diff between two trees as protocol 3.5 makes it. */
  diff(from: string, to: string): Promise<Buffer>;
}

export function createCheckoutContent(
  runGit: RunGit,
  place: {
    readonly gitDir: string;
    readonly checkout: string;
    readonly signal: AbortSignal | undefined;
  },
): CheckoutContent {
  const { gitDir, checkout, signal } = place;

  async function git(
    args: readonly string[],
    options: Partial<GitCommandOptions> = {},
  ): Promise<Buffer> {
    const result = await runGit(args, { gitDir, signal, ...options });
    if (result.exitCode !== 0) throw toError(args[0] ?? 'git', result);
    return result.stdout;
  }

  /** Runs an action with a private index that holds `treeish`. */
  async function withIndex<T>(
    treeish: string,
    action: (indexFile: string) => Promise<T>,
  ): Promise<T> {
    const folder = path.join(gitDir, 'indexes');
    await mkdir(folder, { recursive: true });
    await removeOldFiles(folder);
    const indexFile = path.join(folder, randomUUID());
    try {
      await git(['read-tree', treeish], { indexFile });
      return await action(indexFile);
    } finally {
      await rm(indexFile, { force: true });
      await rm(`${indexFile}.lock`, { force: true });
    }
  }

  async function treeWith(
    tree: string,
    changes: ReadonlyMap<string, TreeEntry | null>,
  ): Promise<string> {
    if (changes.size === 0) return tree;
    return withIndex(tree, async (indexFile) => {
      const lines = [...changes].map(([file, entry]) =>
        entry === null
          ? `0 ${'0'.repeat(40)}\t${file}\0`
          : `${entry.mode} ${entry.object}\t${file}\0`,
      );
      await git(['update-index', '-z', '--index-info'], {
        indexFile,
        input: Buffer.from(lines.join('')),
      });
      return (await git(['write-tree'], { indexFile })).toString('utf8').trim();
    });
  }

  async function storeBlob(bytes: Buffer): Promise<string> {
    const stored = await git(['hash-object', '-w', '--stdin', '--no-filters'], { input: bytes });
    return stored.toString('utf8').trim();
  }

  /** Keeps the bytes of a changed file, so that its tree can be read back later. */
  async function storeFile(file: string, entry: TreeEntry): Promise<TreeEntry> {
    const absolute = path.join(checkout, file);
    if (entry.mode === '120000') {
      return {
        mode: entry.mode,
        object: await storeBlob(await readlink(absolute, { encoding: 'buffer' })),
      };
    }
    const stored = await git(['hash-object', '-w', '--no-filters', '--', absolute]);
    return { mode: entry.mode, object: stored.toString('utf8').trim() };
  }

  const content: CheckoutContent = {
    async entries(treeish) {
      return parseTree(await git(['ls-tree', '-r', '-z', '--full-tree', treeish]));
    },

    blob: (object) => git(['cat-file', 'blob', object]),

    async look(tree) {
      const before = await content.entries(tree);
      const directories = createDirectoryCheck(checkout);
      const changes = new Map<string, TreeEntry | null>();
      for (const [file, was] of before) {
        signal?.throwIfAborted();
        const now = await readEntry(checkout, file, was, directories);
        if (now?.object === was.object && now.mode === was.mode) continue;
        changes.set(file, now === null ? null : await storeFile(file, now));
      }
      return { tree: await treeWith(tree, changes), changed: [...changes.keys()].sort() };
    },

    async restore(tree, files) {
      const entries = await content.entries(tree);
      const bytes = new Map<string, { entry: TreeEntry; bytes: Buffer }>();
      for (const file of files) {
        const entry = entries.get(file);
        if (entry !== undefined)
          bytes.set(file, { entry, bytes: await content.blob(entry.object) });
      }
      for (const file of files) {
        const kept = bytes.get(file);
        if (kept === undefined) await removeInside(checkout, file);
        else await placeInside(checkout, file, kept.entry.mode, kept.bytes);
      }
    },

    async write(tree, files) {
      const entries = await content.entries(tree);
      const changes = new Map<string, TreeEntry>();
      for (const [file, bytes] of files) {
        const mode = entries.get(file)?.mode ?? '100644';
        changes.set(file, { mode, object: await storeBlob(bytes) });
      }
      const after = await treeWith(tree, changes);
      for (const [file, bytes] of files) {
        await placeInside(checkout, file, changes.get(file)?.mode ?? '100644', bytes);
      }
      return after;
    },

    async checkOut(tree) {
      await withIndex(tree, (indexFile) =>
        git(['checkout-index', '--all', '--quiet'], {
          indexFile,
          workTree: checkout,
          timeoutMs: 10 * 60_000,
        }),
      );
    },

    async untracked(tree) {
      return withIndex(tree, async (indexFile) => {
        const listed = await git(
          ['ls-files', '--others', '--exclude-per-directory=.gitignore', '-z'],
          {
            indexFile,
            workTree: checkout,
          },
        );
        return listed
          .toString('utf8')
          .split('\0')
          .filter((file) => file !== '');
      });
    },

    async apply(commit, patch) {
      return withIndex(commit, async (indexFile) => {
        // The validator's own `git apply -`, with nothing of the work directory in its way.
        const applied = await runGit(['apply', '--cached', '-'], {
          gitDir,
          indexFile,
          input: patch,
          signal,
        });
        if (applied.exitCode !== 0) return { reason: plainText(applied.stderr, 300) };
        return { tree: (await git(['write-tree'], { indexFile })).toString('utf8').trim() };
      });
    },

    diff: (from, to) =>
      withIndex(to, (indexFile) =>
        git(
          [
            'diff',
            '--cached',
            '--binary',
            '--no-ext-diff',
            '--no-textconv',
            '--no-renames',
            '--no-color',
            '--ignore-submodules=all',
            '--full-index',
            '--src-prefix=a/',
            '--dst-prefix=b/',
            from,
          ],
          { indexFile },
        ),
      ),
  };
  return content;
}

/**
 * Puts a file into the checkout. A link in the way is replaced, never followed: what a command put there
 * must not lead a write of ours out of the checkout.
 */
async function placeInside(
  checkout: string,
  file: string,
  mode: string,
  bytes: Buffer,
): Promise<void> {
  const absolute = await clearWay(checkout, file);
  // Beside the checkout: a worker that dies here must not leave a new file in the surface of a patch.
  const temporary = path.join(path.dirname(checkout), `.${randomUUID()}.tmp`);
  if (mode === '120000') {
    await symlink(bytes, temporary);
  } else {
    await writeFile(temporary, bytes, { flag: 'wx' });
    await chmod(temporary, mode === '100755' ? 0o755 : 0o644);
  }
  await rename(temporary, absolute);
}

/** Removes a file or folder of the checkout, or the link that stands in its place; nothing when there is none. */
export async function removeInside(checkout: string, file: string): Promise<void> {
  if (!(await createDirectoryCheck(checkout)(path.posix.dirname(file)))) return;
  await rm(path.join(checkout, file), { recursive: true, force: true });
}

/** Makes the folders above a file real folders and the place itself free; returns its absolute path. */
export async function clearWay(checkout: string, file: string): Promise<string> {
  const parts = file.split('/');
  for (let depth = 1; depth < parts.length; depth += 1) {
    const folder = parts.slice(0, depth).join('/');
    if (await createDirectoryCheck(checkout)(folder)) continue;
    await rm(path.join(checkout, folder), { recursive: true, force: true });
    await mkdir(path.join(checkout, folder));
  }
  const absolute = path.join(checkout, file);
  await rm(absolute, { recursive: true, force: true });
  return absolute;
}

function toError(command: string, result: GitCommandResult): StepError {
  const why = result.timedOut
    ? 'it took too long'
    : plainText(result.stderr, 300) || `exit ${result.exitCode}`;
  if (/No space left on device/.test(result.stderr)) {
    return new StepError('DISK_FULL', `No space left while git worked: ${why}`);
  }
  return new StepError('WORKSPACE_CHANGED', `git ${command} failed on a workspace: ${why}`, {
    hint: 'Its git directory or checkout is not as we left it; start a new run.',
  });
}

const OLD_MS = 60 * 60 * 1_000;

/** A git whose host was lost may have written its index after it was removed. */
async function removeOldFiles(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const file = path.join(folder, name);
    const found = await stat(file).catch(() => null);
    if (found !== null && Date.now() - found.mtimeMs > OLD_MS) await rm(file, { force: true });
  }
}
