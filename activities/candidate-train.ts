import { z } from 'zod';
import { artifactSchema, fileRefSchema, taskSchema, workspaceSchema } from '../compiler/values.js';
import { createTrainingProgress } from '../core/training-progress.js';
import { requireFreeDisk } from './free-disk.js';
import { commandEnvironmentSchema } from './command-environment.js';
import { hasSucceeded, placeOf, runProgram, toProgramError } from './program.js';
import { defineStep } from './step-type.js';
import { requireTree, workspaceChanged } from './workspace-state.js';

export const candidateTrain = defineStep({
  name: 'candidate.train',
  summary:
    'Trains a candidate with the command of the operator and stores the artifact that it makes.',
  input: z.object({
    workspace: workspaceSchema.describe('Where the command runs.'),
    task: taskSchema.describe('The task that is trained for.'),
    command: z
      .string()
      .min(1)
      .describe(
        'Run by `/bin/sh -c` in the workspace, with ADIT_OUTPUT_DIR, ADIT_CHECKPOINT_DIR, ADIT_METRICS_FILE and, where the step has a time limit, ADIT_DEADLINE (unix seconds).',
      ),
    env: commandEnvironmentSchema
      .optional()
      .describe('Further environment variables for the command.'),
    artifact: z
      .string()
      .min(1)
      .optional()
      .describe(
        'The file that the command leaves, relative to ADIT_OUTPUT_DIR; `artifact` when absent.',
      ),
    patterns: z
      .record(z.string(), z.string().min(1))
      .optional()
      .describe(
        'Metric name to the text around its number in the output, `{}` in its place: `val loss: {} nats`.',
      ),
  }),
  output: z.object({
    workspace: workspaceSchema.describe('The same workspace: training changes no tracked file.'),
    artifact: artifactSchema.describe('What was trained, not yet published.'),
    log: fileRefSchema.describe("The command's output; of more than 64 MiB head and tail."),
    metrics: z
      .record(z.string(), z.number())
      .describe('The last value of each number that the command reported.'),
  }),
  defaults: {
    timeout: '7h',
    heartbeat: '20s',
    retry: { attempts: 2, first: '5s' },
  },
  errors: [
    'PROGRAM_FAILED',
    'PROGRAM_UNUSABLE',
    'PROGRAM_LOST',
    'PROGRAM_TIMEOUT',
    'OUTPUT_MISSING',
    'WORKSPACE_CHANGED',
    'FILE_MISSING',
    'DISK_LOW',
    'DISK_FULL',
  ],
  host: [['workspace']],
  example: `
- id: trained
  uses: candidate.train
  with:
    workspace: "\${{ steps.edit.workspace }}"
    task: "\${{ steps.discover.task }}"
    command: python3 train.py --output "$ADIT_OUTPUT_DIR/artifact" --checkpoint-dir "$ADIT_CHECKPOINT_DIR"
  timeout: 7h
`,
  run: async ({ workspace, command, env = {}, artifact = 'artifact', patterns }, context) => {
    const { git, processes, store } = context.adapters;
    const directory = processes.directory(placeOf(context));
    const checkpointDir = await processes.checkpointDirectory({
      roundId: context.call.roundId,
      stepPath: context.call.path,
      inputs: { command, commit: workspace.commit, tree: workspace.tree, env },
    });
    const progress = createTrainingProgress(patterns);
    const ended = await runProgram(
      context,
      {
        program: { command },
        cwd: workspace.path,
        env: {
          ...env,
          ADIT_OUTPUT_DIR: directory.outputDir,
          ADIT_CHECKPOINT_DIR: checkpointDir,
          ADIT_METRICS_FILE: directory.metricsFile,
        },
        ...(context.deadlineMs === null
          ? {}
          : { volatileEnv: { ADIT_DEADLINE: String(Math.floor(context.deadlineMs / 1_000)) } }),
      },
      {
        // Only before it is started: what a full disk ends must not be a training that has ended well.
        prepare: async () => {
          await requireFreeDisk(context);
          await requireTree(context, workspace);
        },
        progress,
      },
    );
    if (!hasSucceeded(ended)) throw toProgramError('The training command', ended, 'PROGRAM_FAILED');
    const { changed } = await git.look(workspace, context.signal);
    if (changed.length > 0) throw workspaceChanged(changed, 'were changed by the training command');
    const { file } = await processes.outputFile(directory, artifact);
    const log = await store.putFile(await processes.boundedLog(ended), context.signal);
    return {
      workspace,
      artifact: { file: await store.putFile(file, context.signal) },
      log,
      metrics: progress.metrics(),
    };
  },
});
