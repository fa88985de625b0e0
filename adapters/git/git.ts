/**
 * Workspaces: checkouts of task repositories on this host, made and examined with git.
 *
 * Invariants:
 * 1. Repository addresses, refs and paths from outside are checked before git sees them.
 * 2. Git obeys our configuration alone: the git directory lies outside the checkout (see git-command.ts).
 * 3. The content of a workspace is its `tree`: the tracked files, edits included. What commands make
 *    besides (caches, results) is not part of it.
 */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../core/error.js';
import { createCheckoutContent, type CheckoutContent } from './checkout-content.js';
import { checkoutFiles, type CheckoutFiles } from './checkout-files.js';
import { fetchCommit } from './fetch-commit.js';
import {
  createGitDirectory,
  createRunGit,
  removeAbandonedCommands,
  type RunCommand,
  type RunGit,
} from './git-command.js';
import { isCheckoutPath } from './repository-address.js';
import { changedPaths } from './tracked-files.js';
import { createWorkspaceFolders, type Checkout, type WorkspacePlace } from './workspace-record.js';

export type { WorkspacePlace };

/** A path at which a workspace differs from its commit. Modes are git's (`100644`, `120000`…); null: no file. */
export interface TrackedChange {
  readonly path: string;
  readonly before: string | null;
  readonly after: string | null;
}

/** A path at which a tree differs from its commit, with git's ids of the content; `bytes` are those before. Null: no file. */
interface ChangedFile {
  readonly path: string;
  readonly before: {
    readonly mode: string;
    readonly object: string;
    readonly bytes: Buffer;
  } | null;
  readonly after: { readonly mode: string; readonly object: string } | null;
}

/** What a failed or successful try of a patch on a clean checkout of its commit gave. */
type PatchTrial = { readonly tree: string } | { readonly reason: string };

export interface Git {
  /** The version of git, such as `2.39.5`. Throws PROGRAM_UNUSABLE when there is none. */
  version(signal?: AbortSignal): Promise<string>;
  /**
   * Clones a repository at a branch, tag or commit. Throws REPOSITORY_REFUSED, REPOSITORY_UNAVAILABLE,
   * REF_NOT_FOUND, DISK_FULL. A try that was cut short leaves nothing that the next one would find.
   */
  clone(request: {
    readonly repository: string;
    readonly ref: string;
    readonly place: WorkspacePlace;
    readonly signal?: AbortSignal;
  }): Promise<Checkout>;
  /** A second checkout of a workspace's tree; it shares the objects. Untracked files are not copied. */
  fork(request: {
    readonly workspace: Checkout;
    readonly place: WorkspacePlace;
    readonly signal?: AbortSignal;
  }): Promise<Checkout>;
  /** The tree of the tracked files as they are now, and the paths at which it differs from `workspace.tree`. */
  look(workspace: Checkout, signal?: AbortSignal): Promise<{ tree: string; changed: string[] }>;
  /** Writes tracked files back as `workspace.tree` has them. */
  restore(workspace: Checkout, files: readonly string[], signal?: AbortSignal): Promise<void>;
  /** A tracked file as `workspace.tree` has it; null when it has none. */
  readTracked(
    workspace: Checkout,
    file: string,
    signal?: AbortSignal,
  ): Promise<{ readonly mode: string; readonly bytes: Buffer } | null>;
  /** Gives tracked files new content; returns the workspace with its new tree. */
  writeTracked(
    workspace: Checkout,
    files: ReadonlyMap<string, Buffer>,
    signal?: AbortSignal,
  ): Promise<Checkout>;
  /** Where a tree of this workspace differs from its commit, sorted by path. */
  changes(workspace: Checkout, signal?: AbortSignal): Promise<TrackedChange[]>;
  /** The same, with what stood there before: what a patch of the workspace applies to. */
  changedFiles(workspace: Checkout, signal?: AbortSignal): Promise<ChangedFile[]>;
  /** Files that are neither tracked nor ignored. */
  untracked(workspace: Checkout, signal?: AbortSignal): Promise<string[]>;
  /** The unified diff from the commit to `workspace.tree`, made as protocol 3.5 says. */
  diff(workspace: Checkout, signal?: AbortSignal): Promise<Buffer>;
  /** Applies a patch to a clean copy of the commit, as the validator does, and tells what came out. */
  tryPatch(workspace: Checkout, patch: Buffer, signal?: AbortSignal): Promise<PatchTrial>;
  /** Files of a checkout that commands may have written. */
  readonly files: CheckoutFiles;
}

export interface GitOptions {
  readonly stateDir: string;
  /** Where `git` is looked for: a list as in PATH. */
  readonly searchPath?: string;
  /** Runs git: the process host of this machine. */
  readonly runCommand: RunCommand;
}

/** Enough for git on any usual system; a worker with git elsewhere passes its own PATH. */
const STANDARD_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** How often an operation is begun anew when the host was lost in the middle of one of its commands. */
const MOST_LOSSES = 3;

export function createGit({ stateDir, searchPath = STANDARD_PATH, runCommand }: GitOptions): Git {
  const state = path.resolve(stateDir);
  const commandsDir = path.join(state, 'host', 'commands');
  const git = createOperations(
    createRunGit({ searchPath, commandsDir, runCommand }),
    createWorkspaceFolders(state),
  );
  void removeAbandonedCommands(commandsDir).catch(() => {});
  return {
    files: git.files,
    version: (signal) => surviveLoss(() => git.version(signal)),
    clone: (request) => surviveLoss(() => git.clone(request)),
    fork: (request) => surviveLoss(() => git.fork(request)),
    look: (workspace, signal) => surviveLoss(() => git.look(workspace, signal)),
    restore: (workspace, files, signal) => surviveLoss(() => git.restore(workspace, files, signal)),
    readTracked: (workspace, file, signal) =>
      surviveLoss(() => git.readTracked(workspace, file, signal)),
    writeTracked: (workspace, files, signal) =>
      surviveLoss(() => git.writeTracked(workspace, files, signal)),
    changes: (workspace, signal) => surviveLoss(() => git.changes(workspace, signal)),
    changedFiles: (workspace, signal) => surviveLoss(() => git.changedFiles(workspace, signal)),
    untracked: (workspace, signal) => surviveLoss(() => git.untracked(workspace, signal)),
    diff: (workspace, signal) => surviveLoss(() => git.diff(workspace, signal)),
    tryPatch: (workspace, patch, signal) =>
      surviveLoss(() => git.tryPatch(workspace, patch, signal)),
  };
}

/**
 * Begins an operation anew when the process host was lost in the middle: which of its commands had worked is not
 * known, but every operation makes private files first and puts them in place last.
 */
async function surviveLoss<Result>(operation: () => Promise<Result>): Promise<Result> {
  for (let losses = 1; ; losses += 1) {
    try {
      return await operation();
    } catch (error) {
      const isLoss = error instanceof StepError && error.code === 'HOST_UNAVAILABLE';
      if (!isLoss || losses === MOST_LOSSES) throw error;
    }
  }
}

function createOperations(runGit: RunGit, folders: ReturnType<typeof createWorkspaceFolders>): Git {
  async function contentOf(workspace: Checkout, signal?: AbortSignal): Promise<CheckoutContent> {
    const { gitDir } = await folders.find(workspace);
    return createCheckoutContent(runGit, {
      gitDir,
      checkout: path.resolve(workspace.path),
      signal,
    });
  }

  /** Fills a new checkout with `tree` and puts it in its place. */
  async function make(
    place: WorkspacePlace,
    from: { readonly gitDir: string; readonly commit: string; readonly tree: string },
    signal: AbortSignal | undefined,
  ): Promise<Checkout> {
    const filled = await folders.begin(place);
    try {
      const checkout = path.join(filled, 'checkout');
      await createCheckoutContent(runGit, { gitDir: from.gitDir, checkout, signal }).checkOut(
        from.tree,
      );
      const { gitDir, commit, tree } = from;
      return { path: await folders.finish(place, filled, { gitDir, commit }), commit, tree };
    } catch (error) {
      await rm(filled, { recursive: true, force: true });
      throw error;
    }
  }

  return {
    files: checkoutFiles,

    async version(signal) {
      const result = await runGit(['version'], { signal });
      return /\d+(?:\.\d+)+/.exec(result.stdout.toString('utf8'))?.[0] ?? 'unknown';
    },

    async clone({ repository, ref, place, signal }) {
      const gitDir = await folders.newGitDir(place);
      await createGitDirectory(gitDir);
      try {
        const commit = await fetchCommit(runGit, { repository, ref, gitDir, signal });
        const content = createCheckoutContent(runGit, { gitDir, checkout: gitDir, signal });
        for (const file of (await content.entries(commit)).keys()) {
          if (isCheckoutPath(file) && !file.includes('\uFFFD')) continue;
          throw new StepError(
            'REPOSITORY_REFUSED',
            `${repository} holds the file ${JSON.stringify(file)}, whose name we refuse.`,
            {
              hint: 'Names with `..`, `.git`, a leading dash, backslashes or control characters are refused.',
            },
          );
        }
        const parsed = await runGit(['rev-parse', '--verify', '--quiet', `${commit}^{tree}`], {
          gitDir,
          signal,
        });
        const tree = parsed.stdout.toString('utf8').trim();
        const made = await make(place, { gitDir, commit, tree }, signal);
        await folders.dropOtherGitDirs(gitDir);
        return made;
      } catch (error) {
        await rm(gitDir, { recursive: true, force: true });
        throw error;
      }
    },

    async fork({ workspace, place, signal }) {
      const { gitDir } = await folders.find(workspace);
      return make(place, { gitDir, commit: workspace.commit, tree: workspace.tree }, signal);
    },

    async look(workspace, signal) {
      return (await contentOf(workspace, signal)).look(workspace.tree);
    },

    async restore(workspace, files, signal) {
      await (await contentOf(workspace, signal)).restore(workspace.tree, files);
    },

    async readTracked(workspace, file, signal) {
      const content = await contentOf(workspace, signal);
      const entry = (await content.entries(workspace.tree)).get(file);
      if (entry === undefined) return null;
      // A submodule has no content here.
      const bytes = entry.mode === '160000' ? Buffer.alloc(0) : await content.blob(entry.object);
      return { mode: entry.mode, bytes };
    },

    async writeTracked(workspace, files, signal) {
      const content = await contentOf(workspace, signal);
      const tree = await content.write(workspace.tree, files);
      return { path: workspace.path, commit: workspace.commit, tree };
    },

    async changes(workspace, signal) {
      const content = await contentOf(workspace, signal);
      const before = await content.entries(workspace.commit);
      const after = await content.entries(workspace.tree);
      return changedPaths(before, after).map((file) => ({
        path: file,
        before: before.get(file)?.mode ?? null,
        after: after.get(file)?.mode ?? null,
      }));
    },

    async changedFiles(workspace, signal) {
      const content = await contentOf(workspace, signal);
      const before = await content.entries(workspace.commit);
      const after = await content.entries(workspace.tree);
      const files: ChangedFile[] = [];
      for (const file of changedPaths(before, after)) {
        const was = before.get(file);
        files.push({
          path: file,
          before: was === undefined ? null : { ...was, bytes: await content.blob(was.object) },
          after: after.get(file) ?? null,
        });
      }
      return files;
    },

    async untracked(workspace, signal) {
      return (await contentOf(workspace, signal)).untracked(workspace.tree);
    },

    async diff(workspace, signal) {
      return (await contentOf(workspace, signal)).diff(workspace.commit, workspace.tree);
    },

    async tryPatch(workspace, patch, signal) {
      return (await contentOf(workspace, signal)).apply(workspace.commit, patch);
    },
  };
}
