import { z } from 'zod';
import { workspaceSchema } from '../compiler/values.js';
import { placeOf } from './program.js';
import { defineStep } from './step-type.js';

export const workspaceFork = defineStep({
  name: 'workspace.fork',
  summary: 'Makes a second checkout of a workspace, to change independently of the first.',
  input: z.object({
    workspace: workspaceSchema.describe('The workspace to start from, edits included.'),
  }),
  output: z.object({
    workspace: workspaceSchema.describe(
      'A new checkout of the same tree. Files that commands made are not in it: run workspace.setup again.',
    ),
  }),
  defaults: { timeout: '15m', heartbeat: '20s' },
  errors: ['WORKSPACE_CHANGED', 'FILE_MISSING', 'DISK_FULL'],
  host: [['workspace']],
  opensWorkspace: true,
  example: `
- id: fork
  uses: workspace.fork
  with: { workspace: "\${{ steps.source.workspace }}" }
`,
  run: async ({ workspace }, context) => {
    const checkout = await context.adapters.git.fork({
      workspace,
      place: placeOf(context),
      signal: context.signal,
    });
    return { workspace: { queue: workspace.queue, ...checkout } };
  },
});
