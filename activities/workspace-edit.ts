import { z } from 'zod';
import { editSchema, taskSchema, workspaceSchema, type Edit } from '../compiler/values.js';
import { StepError } from '../core/error.js';
import { isInSurface } from '../core/patch-surface.js';
import { plainText } from '../core/plain-text.js';
import { defineStep } from './step-type.js';
import { requireTree } from './workspace-state.js';

/** More than any recipe file; a larger one would not fit a patch. */
const MOST_FILE_BYTES = 16 * 1024 * 1024;

export const workspaceEdit = defineStep({
  name: 'workspace.edit',
  summary: 'Replaces exact pieces of text in tracked files inside the surface of the task.',
  input: z.object({
    workspace: workspaceSchema.describe('The workspace to change.'),
    task: taskSchema.describe('The task; its allowed patch paths are the surface.'),
    edits: z
      .array(editSchema)
      .min(1)
      .describe('Applied in order; each `find` must occur exactly once.'),
  }),
  output: z.object({
    workspace: workspaceSchema.describe('The workspace with its new tree.'),
    changed: z.array(z.string()).describe('Paths whose content is now different.'),
  }),
  defaults: { timeout: '5m', heartbeat: '20s' },
  errors: [
    'PATCH_OUTSIDE_SURFACE',
    'EDIT_NOT_APPLICABLE',
    'WORKSPACE_CHANGED',
    'FILE_MISSING',
    'DISK_FULL',
  ],
  host: [['workspace']],
  example: `
- id: edit
  uses: workspace.edit
  with:
    workspace: "\${{ steps.ready.workspace }}"
    task: "\${{ steps.discover.task }}"
    edits:
      - { path: train.py, find: "method = 'round'", replace: "method = 'threshold'" }
`,
  run: async ({ workspace, task, edits }, context) => {
    const { git } = context.adapters;
    for (const { path } of edits) {
      if (isInSurface(path, task.allowedPatchPaths) && isPlainPath(path)) continue;
      throw new StepError(
        'PATCH_OUTSIDE_SURFACE',
        `The edit of ${plainText(path, 200)} is outside the surface of ${task.slug}.`,
        {
          hint: `The task allows: ${plainText(task.allowedPatchPaths.join(', '), 300)}.`,
        },
      );
    }
    await requireTree(context, workspace);

    const before = new Map<string, string>();
    const after = new Map<string, string>();
    for (const [index, edit] of edits.entries()) {
      let text = after.get(edit.path);
      if (text === undefined) {
        text = decode(edit, await git.readTracked(workspace, edit.path, context.signal));
        before.set(edit.path, text);
      }
      after.set(edit.path, applyEdit(edit, index, text));
    }
    const changed = [...after].filter(([path, text]) => before.get(path) !== text);
    const checkout = await git.writeTracked(
      workspace,
      new Map(changed.map(([path, text]) => [path, Buffer.from(text)])),
      context.signal,
    );
    return {
      workspace: { ...workspace, tree: checkout.tree },
      changed: changed.map(([path]) => path).sort(),
    };
  },
});

/** A pattern with `*` also matches `../x`, so the surface alone does not keep a path inside. */
function isPlainPath(path: string): boolean {
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}

function decode(edit: Edit, file: { mode: string; bytes: Buffer } | null): string {
  if (file === null) throw notApplicable(edit, 'is no tracked file of the workspace');
  if (file.mode === '120000') throw notApplicable(edit, 'is a symbolic link');
  if (file.mode === '160000') throw notApplicable(edit, 'is a submodule');
  if (file.bytes.length > MOST_FILE_BYTES)
    throw notApplicable(edit, `is larger than ${MOST_FILE_BYTES} bytes`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(file.bytes);
  } catch {
    throw notApplicable(edit, 'is not UTF-8 text');
  }
}

function applyEdit(edit: Edit, index: number, text: string): string {
  const at = text.indexOf(edit.find);
  const place = `edits[${index}]`;
  if (at < 0) throw notApplicable(edit, `does not hold the text that ${place} looks for`);
  if (text.indexOf(edit.find, at + 1) >= 0) {
    throw notApplicable(edit, `holds the text that ${place} looks for more than once`);
  }
  return text.slice(0, at) + edit.replace + text.slice(at + edit.find.length);
}

function notApplicable(edit: Edit, why: string): StepError {
  return new StepError('EDIT_NOT_APPLICABLE', `${plainText(edit.path, 200)} ${why}.`, {
    hint: `\`find\` is ${plainText(JSON.stringify(edit.find), 200)}; it must occur exactly once in the file as it is then.`,
  });
}
