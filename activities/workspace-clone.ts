import { z } from 'zod';
import { taskSchema, workspaceSchema } from '../compiler/values.js';
import { requireFreeDisk } from './free-disk.js';
import { placeOf } from './program.js';
import { defineStep } from './step-type.js';

export const workspaceClone = defineStep({
  name: 'workspace.clone',
  summary: "Clones the task's repository at the commit that its base ref names now.",
  input: z.object({
    task: taskSchema.describe('The task whose repository and base ref are used.'),
  }),
  output: z.object({
    workspace: workspaceSchema.describe('The untouched checkout, on the host that made it.'),
  }),
  defaults: {
    timeout: '30m',
    heartbeat: '20s',
    retry: { attempts: 3, first: '5s', factor: 2, most: '1m' },
  },
  errors: [
    'REPOSITORY_REFUSED',
    'REPOSITORY_UNAVAILABLE',
    'REF_NOT_FOUND',
    'DISK_LOW',
    'DISK_FULL',
    'PROGRAM_UNUSABLE',
    'WORKSPACE_CHANGED',
  ],
  opensWorkspace: true,
  example: `
- id: source
  uses: workspace.clone
  with: { task: "\${{ steps.discover.task }}" }
`,
  run: async ({ task }, context) => {
    await requireFreeDisk(context);
    context.progress({ repository: task.repository, ref: task.baseRef });
    const checkout = await context.adapters.git.clone({
      repository: task.repository,
      ref: task.baseRef,
      place: placeOf(context),
      signal: context.signal,
    });
    return { workspace: { queue: context.adapters.hostQueue, ...checkout } };
  },
});
