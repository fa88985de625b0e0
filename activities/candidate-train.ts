import { z } from 'zod';
import type { EndedProgram } from '../adapters/processes/processes.js';
import { readMetricCondition } from '../compiler/metric-condition.js';
import { artifactSchema, fileRefSchema, taskSchema, workspaceSchema } from '../compiler/values.js';
import { formatDuration } from '../core/duration.js';
import { errorMessage, StepError } from '../core/error.js';
import type { ProgramLimits, ProgramWatch } from '../core/host-protocol.js';
import { commandEnvironmentSchema } from './command-environment.js';
import { durationMs, durationSchema } from './duration-input.js';
import { hasSucceeded, placeOf, runProgram, toProgramError } from './program.js';
import { defineStep, type StepContext } from './step-type.js';
import { requireTree, workspaceChanged } from './workspace-state.js';

const DEFAULT_GRACE = '30s';
const DEFAULT_RESERVE = '30m';
const DEFAULT_WARN_BEFORE = '5m';

const trainInput = z.object({
  workspace: workspaceSchema.describe('Where the command runs.'),
  task: taskSchema.describe('The task that is trained for.'),
  command: z
    .string()
    .min(1)
    .describe(
      'Run by `/bin/sh -c` in the workspace, with ADIT_OUTPUT_DIR, ADIT_CHECKPOINT_DIR, ADIT_METRICS_FILE and, where there is a time limit, ADIT_DEADLINE (unix seconds). After a loss it is started again with the checkpoint directory as it was: whether what lies there can be used is for the command to find out.',
    ),
  env: commandEnvironmentSchema
    .optional()
    .describe('Further environment variables for the command.'),
  artifact: z
    .string()
    .min(1)
    .optional()
    .describe(
      'The file that the command leaves, relative to ADIT_OUTPUT_DIR; `artifact` when absent. Write it under another name and rename it: the command may be stopped at any moment.',
    ),
  patterns: z
    .record(z.string(), z.string().min(1))
    .optional()
    .describe(
      'Metric name to the text around its number in the output, `{}` in its place: `val loss: {} nats`.',
    ),
  stop_when: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Bare CEL over `metrics`, the latest numbers by name, such as `metrics.accuracy >= 0.9`. True stops the command; the artifact that is there then is the result.',
    ),
  patience: z
    .int()
    .min(1)
    .optional()
    .describe('How many looks with new metrics in a row `stop_when` must be true; 1 when absent.'),
  stalled_after: durationSchema
    .optional()
    .describe(
      'After so long without output and metrics there is a warning, after twice as long the command is ended.',
    ),
  reserve: durationSchema
    .optional()
    .describe(
      `Kept before the run's deadline for what comes after the training (benchmark, publishing, gate, claim, submission): the command is stopped so long before it. ${DEFAULT_RESERVE} when absent.`,
    ),
  warn_signal: z
    .enum(['USR1', 'USR2', 'HUP', 'INT'])
    .optional()
    .describe(
      'Sent to the command before its time ends. Absent: none, since a command that does not expect a signal dies of it.',
    ),
  warn_before: durationSchema
    .optional()
    .describe(
      `How long before its time ends \`warn_signal\` is sent; ${DEFAULT_WARN_BEFORE} when absent.`,
    ),
  grace: durationSchema
    .optional()
    .describe(
      `Time to write a checkpoint, from TERM to KILL, whatever ends the command; ${DEFAULT_GRACE} when absent.`,
    ),
});
type TrainInput = z.output<typeof trainInput>;

export const candidateTrain = defineStep({
  name: 'candidate.train',
  summary:
    'Trains a candidate with the command of the operator and stores the artifact that it makes.',
  input: trainInput,
  output: z.object({
    workspace: workspaceSchema.describe('The same workspace: training changes no tracked file.'),
    artifact: artifactSchema.describe('What was trained, not yet published.'),
    log: fileRefSchema.describe("The command's output; of more than 64 MiB head and tail."),
    metrics: z
      .record(z.string(), z.number())
      .describe('The last value of each number that the command reported.'),
    stopped_by: z
      .enum(['completed', 'stop_when', 'deadline'])
      .describe("What ended the training: the command itself, the rule, or the run's deadline."),
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
    'PROGRAM_STALLED',
    'PROGRAM_OUT_OF_MEMORY',
    'PROGRAM_KILLED',
    'DEVICE_MISSING',
    'OUTPUT_MISSING',
    'WORKSPACE_CHANGED',
    'FILE_MISSING',
    'DISK_LOW',
    'DISK_FULL',
  ],
  program: true,
  metricConditions: ['stop_when'],
  host: [['workspace']],
  passes: { workspace: 'workspace' },
  example: `
- id: trained
  uses: candidate.train
  with:
    workspace: "\${{ steps.edit.workspace }}"
    task: "\${{ steps.discover.task }}"
    command: python3 train.py --output "$ADIT_OUTPUT_DIR/artifact" --checkpoint-dir "$ADIT_CHECKPOINT_DIR"
    stop_when: has(metrics.val_loss) && metrics.val_loss < 2.1
    patience: 3
    stalled_after: 20m
  timeout: 7h
`,
  run: async (input, context) => {
    const { workspace, command, env = {}, artifact = 'artifact', patterns } = input;
    const { git, processes, store } = context.adapters;
    const files = processes.files(placeOf(context));
    const watch = toWatch(input);
    const checkpointDir = await processes.checkpointDirectory({
      roundId: context.call.roundId,
      stepPath: context.call.path,
      inputs: { command, commit: workspace.commit, tree: workspace.tree, env },
    });
    const limits = toLimits(input, context);
    const ended = await runProgram(
      context,
      {
        program: { command },
        cwd: workspace.path,
        env: {
          ...env,
          ADIT_OUTPUT_DIR: files.outputDir,
          ADIT_CHECKPOINT_DIR: checkpointDir,
          ADIT_METRICS_FILE: files.metricsFile,
        },
      },
      {
        prepare: async () => {
          assertTimeLeft(input, limits, context);
          await requireTree(context, workspace);
        },
        watch: patterns === undefined ? watch : { patterns, ...watch },
        limits,
      },
    );
    if (ended.stoppedBy === undefined && !hasSucceeded(ended)) {
      throw toProgramError('The training command', ended, 'PROGRAM_FAILED', checkpointDir);
    }
    const { changed } = await git.look(workspace, context.signal);
    if (changed.length > 0) throw workspaceChanged(changed, 'were changed by the training command');
    const { file } = await findArtifact(artifact, ended, context);
    const log = await store.putFile(await processes.boundedLog(ended), context.signal);
    return {
      workspace,
      artifact: { file: await store.putFile(file, context.signal) },
      log,
      metrics: { ...ended.metrics },
      stopped_by: STOPPED_BY[ended.stoppedBy ?? 'itself'],
    };
  },
});

const STOPPED_BY = { itself: 'completed', rule: 'stop_when', deadline: 'deadline' } as const;

function toWatch({ stop_when, patience = 1, stalled_after }: TrainInput): ProgramWatch {
  const stalledAfterMs = durationMs(stalled_after);
  return {
    ...(stop_when === undefined ? {} : { stopWhen: { expr: compileRule(stop_when), patience } }),
    ...(stalledAfterMs === undefined ? {} : { stalledAfterMs }),
  };
}

function compileRule(text: string): NonNullable<ProgramWatch['stopWhen']>['expr'] {
  const compiled = readMetricCondition(text);
  if ('expr' in compiled) return compiled.expr;
  throw new StepError('STEP_INPUT_INVALID', `candidate.train: stop_when: ${compiled.problem}`, {
    hint: compiled.hint || 'It is bare CEL over `metrics`, such as `metrics.val_loss < 2.1`.',
  });
}

function toLimits(
  { reserve, grace, warn_signal, warn_before }: TrainInput,
  { call: { runDeadlineMs } }: StepContext,
): Partial<ProgramLimits> & { readonly graceMs: number } {
  return {
    graceMs: durationMs(grace ?? DEFAULT_GRACE),
    ...(runDeadlineMs === undefined
      ? {}
      : { deadlineMs: runDeadlineMs - durationMs(reserve ?? DEFAULT_RESERVE) }),
    ...(warn_signal === undefined
      ? {}
      : {
          warning: {
            signal: `SIG${warn_signal}`,
            beforeMs: durationMs(warn_before ?? DEFAULT_WARN_BEFORE),
          },
        }),
  };
}

/** A training that would be stopped at once is not begun. */
function assertTimeLeft(
  { reserve }: TrainInput,
  { deadlineMs, graceMs = 0 }: Partial<ProgramLimits>,
  { call }: StepContext,
): void {
  if (deadlineMs === undefined || call.runDeadlineMs === undefined) return;
  if (deadlineMs - Date.now() > graceMs) return;
  const restMs = Math.max(0, call.runDeadlineMs - Date.now());
  throw new StepError(
    'PROGRAM_TIMEOUT',
    `There is no time left to train: the run's deadline is ${restMs === 0 ? 'over' : `in ${formatDuration(restMs)}`}, and ${reserve ?? DEFAULT_RESERVE} of it are kept for what follows.`,
    { hint: 'Give the run more time, or the step a shorter `reserve`.' },
  );
}

async function findArtifact(
  artifact: string,
  ended: EndedProgram,
  { adapters: { processes } }: StepContext,
): Promise<{ file: string }> {
  try {
    return await processes.outputFile(ended.files, artifact);
  } catch (error) {
    if (ended.stoppedBy === undefined || !(error instanceof StepError)) throw error;
    const why = ended.stoppedBy === 'rule' ? '`stop_when`' : "the run's deadline";
    throw new StepError(
      error.code,
      `The training was stopped by ${why} and left no artifact: ${errorMessage(error)}`,
      {
        hint: 'The command must write its artifact as it goes, or within `grace` after a TERM.',
        cause: error,
      },
    );
  }
}
