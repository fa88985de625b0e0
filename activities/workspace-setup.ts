import { z } from 'zod';
import { taskSchema, workspaceSchema } from '../compiler/values.js';
import { hasSucceeded, runProgram, toProgramError } from './program.js';
import { defineStep } from './step-type.js';
import { requireTree } from './workspace-state.js';

export const workspaceSetup = defineStep({
  name: 'workspace.setup',
  summary:
    "Runs the task's setup command in a workspace, in the environment that a validator gives it.",
  input: z.object({
    workspace: workspaceSchema.describe('Where to run it.'),
    task: taskSchema.describe('The task; its setup command is run, if it has one.'),
  }),
  output: z.object({
    workspace: workspaceSchema.describe('The workspace after setup.'),
    ran: z.boolean().describe('False when the task has no setup command.'),
  }),
  defaults: { timeout: '1h', heartbeat: '20s', retry: { attempts: 2, first: '5s' } },
  errors: [
    'SETUP_FAILED',
    'PROGRAM_UNUSABLE',
    'PROGRAM_LOST',
    'PROGRAM_TIMEOUT',
    'PROGRAM_OUT_OF_MEMORY',
    'PROGRAM_KILLED',
    'DEVICE_MISSING',
    'WORKSPACE_CHANGED',
    'FILE_MISSING',
    'DISK_LOW',
    'DISK_FULL',
  ],
  program: true,
  host: [['workspace']],
  example: `
- id: ready
  uses: workspace.setup
  with: { workspace: "\${{ steps.fork.workspace }}", task: "\${{ steps.discover.task }}" }
`,
  run: async ({ workspace, task }, context) => {
    if (task.setupCommand === undefined || task.setupCommand.trim() === '') {
      return { workspace, ran: false };
    }
    const ended = await runProgram(
      context,
      { program: { command: task.setupCommand }, cwd: workspace.path },
      { prepare: () => requireTree(context, workspace) },
    );
    if (!hasSucceeded(ended)) throw toProgramError('The setup command', ended, 'SETUP_FAILED');
    const { tree } = await context.adapters.git.look(workspace, context.signal);
    return { workspace: { ...workspace, tree }, ran: true };
  },
});
