/**
 * Where workspaces lie, and what is known about each:
 *
 *   <state>/workspaces/<run>/<step path>/<start>/checkout   the work directory, all that commands see
 *   <state>/repositories/<key>.<try>.git                       objects of one clone, shared by its forks
 *   <state>/repositories/checkouts/<key>.json               which git directory a checkout belongs to
 *
 * A checkout is made under another name and renamed when it is whole; its record is written last. So a
 * step that is tried again after a crash finds nothing half-made.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Workspace } from '../../compiler/values.js';
import { StepError } from '../../core/error.js';
import { isJsonObject } from '../../core/json.js';
import { stepFolderName } from '../../core/step-folder.js';

/** What names a new workspace: the step that makes it. */
export interface WorkspacePlace {
  readonly runId: string;
  readonly stepPath: string;
  readonly start: number;
  /** When the server scheduled this attempt: an older attempt never replaces what a newer one made. */
  readonly scheduledAtMs: number;
}

/** A checkout on this host: a `Workspace` without its queue. */
export type Checkout = Pick<Workspace, 'path' | 'commit' | 'tree'>;

interface WorkspaceRecord {
  readonly path: string;
  readonly gitDir: string;
  readonly commit: string;
  readonly scheduledAtMs: number;
}

export interface WorkspaceFolders {
  /** A path for the git directory of one try of a clone. */
  newGitDir(place: WorkspacePlace): Promise<string>;
  /** Removes the git directories that other tries of the same clone left behind. */
  dropOtherGitDirs(gitDir: string): Promise<void>;
  /** An empty directory to fill, beside the final one; leftovers of earlier tries are removed. */
  begin(place: WorkspacePlace): Promise<string>;
  /** Puts a filled directory in its final place and records it; returns the path of the checkout. */
  finish(
    place: WorkspacePlace,
    filled: string,
    made: { gitDir: string; commit: string },
  ): Promise<string>;
  /** The git directory of a checkout. Throws FILE_MISSING, WORKSPACE_CHANGED. */
  find(workspace: Checkout): Promise<{ gitDir: string }>;
}

export function createWorkspaceFolders(stateDir: string): WorkspaceFolders {
  const repositories = path.join(stateDir, 'repositories');

  async function workspacesRoot(): Promise<string> {
    const root = path.join(stateDir, 'workspaces');
    await mkdir(root, { recursive: true, mode: 0o700 });
    return realpath(root);
  }

  async function folderOf(place: WorkspacePlace): Promise<string> {
    return path.join(
      await workspacesRoot(),
      stepFolderName(place.runId),
      stepFolderName(place.stepPath),
      String(place.start),
    );
  }

  const recordFile = (checkout: string): string =>
    path.join(repositories, 'checkouts', `${digest(checkout)}.json`);

  async function readRecord(checkout: string): Promise<WorkspaceRecord | null> {
    const text = await readFile(recordFile(checkout), 'utf8').catch(() => null);
    if (text === null) return null;
    const value: unknown = JSON.parse(text);
    if (!isJsonObject(value)) return null;
    const { path: file, gitDir, commit, scheduledAtMs } = value;
    if (typeof file !== 'string' || typeof gitDir !== 'string') return null;
    if (typeof commit !== 'string' || typeof scheduledAtMs !== 'number') return null;
    return { path: file, gitDir, commit, scheduledAtMs };
  }

  return {
    async newGitDir(place) {
      await mkdir(repositories, { recursive: true, mode: 0o700 });
      const name = `${digest(await folderOf(place))}.${randomUUID()}.git`;
      return path.join(await realpath(repositories), name);
    },

    async dropOtherGitDirs(gitDir) {
      const [key = ''] = path.basename(gitDir).split('.', 1);
      for (const name of await readdir(repositories)) {
        if (!name.startsWith(`${key}.`) || name === path.basename(gitDir)) continue;
        await rm(path.join(repositories, name), { recursive: true, force: true });
      }
    },

    async begin(place) {
      const folder = await folderOf(place);
      const parent = path.dirname(folder);
      await mkdir(parent, { recursive: true });
      const leftovers = (await readdir(parent)).filter((name) =>
        name.startsWith(`.${place.start}.`),
      );
      for (const name of leftovers)
        await rm(path.join(parent, name), { recursive: true, force: true });
      const filled = path.join(parent, `.${place.start}.${randomUUID()}`);
      await mkdir(path.join(filled, 'checkout'), { recursive: true });
      return filled;
    },

    async finish(place, filled, made) {
      const folder = await folderOf(place);
      const checkout = path.join(folder, 'checkout');
      const earlier = await readRecord(checkout);
      if (earlier !== null && earlier.scheduledAtMs > place.scheduledAtMs) {
        await rm(filled, { recursive: true, force: true });
        throw new StepError('WORKSPACE_CHANGED', `A newer attempt has already made ${checkout}.`);
      }
      await rm(folder, { recursive: true, force: true });
      await rename(filled, folder);
      const record: WorkspaceRecord = {
        path: checkout,
        ...made,
        scheduledAtMs: place.scheduledAtMs,
      };
      const file = recordFile(checkout);
      await mkdir(path.dirname(file), { recursive: true });
      const temporary = `${file}.${randomUUID()}.tmp`;
      await writeFile(temporary, `${JSON.stringify(record)}\n`, { flush: true });
      await rename(temporary, file);
      return checkout;
    },

    async find(workspace) {
      const root = await workspacesRoot();
      const checkout = path.resolve(workspace.path);
      if (!checkout.startsWith(`${root}${path.sep}`)) {
        throw new StepError(
          'WORKSPACE_CHANGED',
          `${workspace.path} is no workspace of this host (they lie in ${root}).`,
          {
            hint: 'A workspace is used on the host and state folder that made it.',
          },
        );
      }
      const found = await realpath(checkout).catch(() => null);
      const record = await readRecord(checkout);
      if (found === null || record === null) {
        throw new StepError('FILE_MISSING', `The workspace ${checkout} is gone.`, {
          hint: 'Was the state folder cleaned? Start a new run.',
        });
      }
      if (found !== checkout || record.commit !== workspace.commit) {
        throw new StepError(
          'WORKSPACE_CHANGED',
          `The workspace ${checkout} is not the one that was handed over.`,
          {
            hint: 'A program on this machine replaced it; start a new run.',
          },
        );
      }
      return { gitDir: record.gitDir };
    },
  };
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
