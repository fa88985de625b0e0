/** Holds steps to the rule that a `Workspace` is a value: a step starts from the tree that it was handed. */
import type { Workspace } from '../compiler/values.js';
import { StepError } from '../core/error.js';
import { plainText } from '../core/plain-text.js';
import type { StepContext } from './step-type.js';

/**
 * Makes sure that the tracked files are those of `workspace.tree`. What an earlier try of this very step
 * left is put back; anything else was changed behind the run's back: WORKSPACE_CHANGED.
 */
export async function requireTree(context: StepContext, workspace: Workspace): Promise<void> {
  const { git } = context.adapters;
  const { changed } = await git.look(workspace, context.signal);
  if (changed.length === 0) return;
  if (context.firstAttempt)
    throw workspaceChanged(changed, 'were changed since the step that made this workspace');
  await git.restore(workspace, changed, context.signal);
}

/** The error for tracked files that are not as they should be. */
export function workspaceChanged(files: readonly string[], why: string): StepError {
  return new StepError('WORKSPACE_CHANGED', `Tracked files ${why}: ${listPaths(files)}.`, {
    hint: 'Change tracked files with workspace.edit only; write results to ADIT_OUTPUT_DIR or to untracked files.',
  });
}

/** A bounded list of paths for a message. */
export function listPaths(files: readonly string[]): string {
  const shown = files.slice(0, 10).map((file) => plainText(file, 120));
  return files.length > 10 ? `${shown.join(', ')} and ${files.length - 10} more` : shown.join(', ');
}
