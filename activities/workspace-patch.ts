import { z } from 'zod';
import type { TrackedChange } from '../adapters/git/git.js';
import {
  patchSchema,
  taskSchema,
  workspaceSchema,
  type Task,
  type Workspace,
} from '../compiler/values.js';
import { StepError } from '../core/error.js';
import {
  checkPatchSurface,
  isInSurface,
  isPythonBytecode,
  type PatchCheck,
} from '../core/patch-surface.js';
import { defineStep, type StepContext } from './step-type.js';
import { listPaths, workspaceChanged } from './workspace-state.js';

export const workspacePatch = defineStep({
  name: 'workspace.patch',
  summary: "Builds the patch of a workspace and checks it by the validator's own rules.",
  input: z.object({
    workspace: workspaceSchema.describe('The workspace that was measured.'),
    task: taskSchema.describe('The task; its surface and its size limit are applied.'),
  }),
  output: z.object({
    patch: patchSchema.describe('The diff against the commit; empty when no tracked file changed.'),
  }),
  defaults: { timeout: '15m', heartbeat: '20s' },
  errors: [
    'PATCH_OUTSIDE_SURFACE',
    'PATCH_TOO_LARGE',
    'PATCH_UNUSABLE',
    'WORKSPACE_CHANGED',
    'FILE_MISSING',
    'DISK_FULL',
  ],
  host: [['workspace']],
  madeOf: { patch: 'workspace' },
  example: `
- id: patch
  uses: workspace.patch
  with: { workspace: "\${{ steps.best.candidate.workspace }}", task: "\${{ steps.discover.task }}" }
`,
  run: async ({ workspace, task }, context) => {
    const { git, store } = context.adapters;
    const { signal } = context;
    const now = await git.look(workspace, signal);
    const current = { ...workspace, tree: now.tree };
    const changes = await git.changes(current, signal);
    assertInSurface(changes, task);
    assertRegularFiles(changes);
    if (now.changed.length > 0) {
      throw workspaceChanged(now.changed, 'are not as they were when the workspace was measured');
    }
    const untracked = (await git.untracked(workspace, signal)).filter(
      (file) => !isGenerated(file, task),
    );
    assertNothingLeftOut(untracked, task);
    if (untracked.length > 0) context.progress({ leftOut: listPaths(untracked) });

    const bytes = await git.diff(workspace, signal);
    const text = decode(bytes);
    const paths = assertAccepted(checkPatchSurface(text, task), bytes.length, task);
    if (bytes.length > 0) {
      const trial = await git.tryPatch(workspace, bytes, signal);
      if (!('tree' in trial)) {
        throw new StepError(
          'PATCH_UNUSABLE',
          `The patch does not apply to a clean checkout of ${workspace.commit}: ${trial.reason}`,
        );
      }
      if (trial.tree !== workspace.tree) {
        throw new StepError(
          'PATCH_UNUSABLE',
          `The patch applied to ${workspace.commit} gives the tree ${trial.tree}, not ${workspace.tree}.`,
        );
      }
    }
    const file = await store.putBytes(bytes);
    const baseSha256 = await keepBase(workspace, context);
    return {
      patch: {
        file,
        commit: workspace.commit,
        tree: workspace.tree,
        paths: [...paths],
        baseSha256,
      },
    };
  },
});

/**
 * Stores what the patch applies to: whoever checks it later has neither the workspace nor the repository. Returns a
 * digest, and no file that an approval would show.
 */
async function keepBase(
  workspace: Workspace,
  { adapters: { git, store }, signal }: StepContext,
): Promise<string> {
  const files = [];
  for (const { path, before, after } of await git.changedFiles(workspace, signal)) {
    files.push({
      path,
      before:
        before === null
          ? null
          : { mode: before.mode, object: before.object, file: await store.putBytes(before.bytes) },
      after,
    });
  }
  const { commit, tree } = workspace;
  const list = await store.putBytes(
    `${JSON.stringify({ format: 'adit-patch-base/1', commit, tree, files }, null, 2)}\n`,
  );
  return list.sha256;
}

function assertInSurface(changes: readonly TrackedChange[], task: Task): void {
  const outside = changes
    .map(({ path }) => path)
    .filter((path) => !isInSurface(path, task.allowedPatchPaths));
  if (outside.length === 0) return;
  throw new StepError(
    'PATCH_OUTSIDE_SURFACE',
    `Tracked files outside the surface of ${task.slug} are changed: ${listPaths(outside)}.`,
    {
      hint: `The task allows only ${listPaths(task.allowedPatchPaths)}. A validator would reject the patch, and leaving the change out would submit other work than was measured.`,
    },
  );
}

function assertRegularFiles(changes: readonly TrackedChange[]): void {
  const isRegular = (mode: string | null): boolean => mode === null || mode.startsWith('100');
  const others = changes.filter(({ before, after }) => !isRegular(before) || !isRegular(after));
  if (others.length === 0) return;
  throw new StepError(
    'PATCH_UNUSABLE',
    `The patch would change symbolic links or submodules: ${listPaths(others.map(({ path }) => path))}.`,
    {
      hint: 'Only regular files may change.',
    },
  );
}

/** Files that a round itself makes in a checkout: never work that a patch forgot. */
function isGenerated(file: string, task: Task): boolean {
  return (
    file === task.resultPath ||
    file.startsWith('.autoresearch-submission/') ||
    isPythonBytecode(file) ||
    file.includes('__pycache__/')
  );
}

function assertNothingLeftOut(untracked: readonly string[], task: Task): void {
  const inside = untracked.filter((file) => isInSurface(file, task.allowedPatchPaths));
  if (inside.length === 0) return;
  throw new StepError(
    'WORKSPACE_CHANGED',
    `New files inside the surface of ${task.slug} are not part of the workspace: ${listPaths(inside)}.`,
    {
      hint: 'A command made them. A patch without them might not be what was measured: let commands write elsewhere.',
    },
  );
}

function decode(bytes: Buffer): string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new StepError(
      'PATCH_UNUSABLE',
      'The patch is not UTF-8: a changed file is in another encoding.',
      {
        hint: 'A submission carries its patch as JSON text; convert the file, or leave it unchanged.',
      },
    );
  }
  if (text !== '' && !text.endsWith('\n')) {
    throw new StepError('PATCH_UNUSABLE', 'The patch does not end with a line feed.');
  }
  return text;
}

function assertAccepted(check: PatchCheck, sizeBytes: number, task: Task): readonly string[] {
  if (check.ok) return check.paths;
  throw toRejection(check, sizeBytes, task);
}

function toRejection(
  { reason, paths }: Extract<PatchCheck, { ok: false }>,
  sizeBytes: number,
  task: Task,
): StepError {
  const marker = `a validator would reject it as ${reason}`;
  if (reason === 'patch_too_large') {
    return new StepError(
      'PATCH_TOO_LARGE',
      `The patch has ${sizeBytes} bytes, at most ${task.maxPatchBytes} are allowed: ${marker}.`,
    );
  }
  if (reason === 'generated_python_cache_paths') {
    return new StepError(
      'PATCH_UNUSABLE',
      `The patch holds compiled Python (${listPaths(paths)}): ${marker}.`,
    );
  }
  if (reason === 'unparseable_patch_surface') {
    return new StepError('PATCH_UNUSABLE', `No path can be read from the patch: ${marker}.`);
  }
  // The changed files are inside: what is left are lines that the validator misreads as paths.
  return new StepError(
    'PATCH_OUTSIDE_SURFACE',
    `The validator reads these as paths outside the surface: ${listPaths(paths)}; ${marker}.`,
    {
      hint: 'Lines such as a removed `-- comment` or an added `++ x`, and names with quotes, look like paths to it; write the change otherwise.',
    },
  );
}
