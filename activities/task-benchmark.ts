import { z } from 'zod';
import type { EndedProgram } from '../adapters/processes/processes.js';
import {
  artifactSchema,
  candidateSchema,
  measurementSchema,
  recipeSchema,
  taskSchema,
  workspaceSchema,
  type FileRef,
  type Measurement,
  type Task,
  type Workspace,
} from '../compiler/values.js';
import { canonicalJson } from '../core/canonical-json.js';
import { StepError } from '../core/error.js';
import { isNestedTooDeeply } from '../core/json-depth.js';
import { isJsonObject, type Json, type JsonObject } from '../core/json.js';
import { measuredConditions } from '../core/measured-conditions.js';
import { parsePythonJson } from '../core/python-json.js';
import {
  readConsoleMetric,
  readRejection,
  readResultMetric,
  type MetricReading,
} from '../core/result-metric.js';
import { hasSucceeded, runProgram, toProgramError } from './program.js';
import { defineStep, type StepContext } from './step-type.js';
import { requireTree, workspaceChanged } from './workspace-state.js';

/** Where the validator puts the artifact, relative to the repository root (protocol 4.4). */
const ARTIFACT_PLACE = '.autoresearch-submission/artifact';
/** The validator reads no larger result file (protocol 4.6). */
const MOST_RESULT_BYTES = 10 * 1024 * 1024;
const MOST_CONSOLE_BYTES = 16 * 1024 * 1024;

export const taskBenchmark = defineStep({
  name: 'task.benchmark',
  summary: "Measures an artifact with the task's own benchmark command.",
  input: z.object({
    workspace: workspaceSchema.describe('Where the benchmark runs.'),
    task: taskSchema.describe('The task; its benchmark command is run unchanged.'),
    artifact: artifactSchema.describe('What is measured.'),
    recipe: recipeSchema.optional().describe('The recipe that made it; absent for the baseline.'),
  }),
  output: z.object({
    candidate: candidateSchema.describe(
      'Recipe, workspace, artifact and measurement, held together.',
    ),
    measurement: measurementSchema.describe(
      'The metric, with the fingerprint of how it was measured.',
    ),
  }),
  defaults: { timeout: '6h', heartbeat: '20s', retry: { attempts: 2, first: '5s' } },
  errors: [
    'BENCHMARK_FAILED',
    'BENCHMARK_REJECTED',
    'METRIC_MISSING',
    'METRIC_NOT_FINITE',
    'PROGRAM_UNUSABLE',
    'PROGRAM_LOST',
    'PROGRAM_TIMEOUT',
    'PROGRAM_OUT_OF_MEMORY',
    'PROGRAM_KILLED',
    'DEVICE_MISSING',
    'REPOSITORY_REFUSED',
    'WORKSPACE_CHANGED',
    'FILE_MISSING',
    'FILE_CHANGED',
    'DISK_LOW',
    'DISK_FULL',
  ],
  program: true,
  host: [['workspace']],
  passes: { 'candidate.workspace': 'workspace', 'candidate.artifact': 'artifact' },
  example: `
- id: measured
  uses: task.benchmark
  with:
    workspace: "\${{ steps.trained.workspace }}"
    task: "\${{ steps.discover.task }}"
    artifact: "\${{ steps.trained.artifact }}"
`,
  run: async ({ workspace, task, artifact, recipe }, context) => {
    const { git, processes, store } = context.adapters;
    const source = await store.locate(artifact.file);
    const ended = await runProgram(
      context,
      {
        program: { command: task.benchmarkCommand },
        cwd: workspace.path,
        env: {
          AUTORESEARCH_SUBMISSION_ARTIFACT_PATH: ARTIFACT_PLACE,
          AUTORESEARCH_SUBMISSION_ARTIFACT_BYTES: String(artifact.file.sizeBytes),
          ...(artifact.uri === undefined
            ? {}
            : { AUTORESEARCH_SUBMISSION_ARTIFACT_URI: artifact.uri }),
        },
      },
      {
        prepare: async () => {
          await requireTree(context, workspace);
          // A result of an earlier run must never pass for one of this run.
          if (task.resultPath !== undefined)
            await git.files.remove(workspace.path, task.resultPath);
          await git.files.place(workspace.path, ARTIFACT_PLACE, source);
        },
      },
    );
    await git.files.remove(workspace.path, ARTIFACT_PLACE);
    const result = await readResult(workspace, task, ended, context);
    const log = await store.putFile(await processes.boundedLog(ended), context.signal);
    const { fingerprint, resultFile } = await toEvidence(workspace, task, result, context);
    await restoreResultFile(workspace, task, context);

    const measurement: Measurement = {
      metric: task.metricName,
      value: result.value,
      direction: task.metricDirection,
      ...(result.secondary === undefined ? {} : { secondary: result.secondary }),
      fingerprint,
      artifactSha256: artifact.file.sha256,
      tree: workspace.tree,
      ...(resultFile === undefined ? {} : { resultFile }),
      log,
      measuredAt: new Date().toISOString(),
    };
    const candidate = {
      workspace,
      artifact,
      measurement,
      ...(recipe === undefined ? {} : { recipe }),
    };
    return { candidate, measurement };
  },
});

interface BenchmarkResult {
  readonly value: number;
  readonly secondary?: { readonly metric: string; readonly value: number };
  /** The result file; null where the task has none. */
  readonly bytes: Buffer | null;
  readonly content: JsonObject;
}

/** Finds the metric as the validator does (task-repositories section 6), but never without exit status 0. */
async function readResult(
  workspace: Workspace,
  task: Task,
  ended: EndedProgram,
  context: StepContext,
): Promise<BenchmarkResult> {
  const { git, processes } = context.adapters;
  const output = await processes.readOutput(ended, MOST_CONSOLE_BYTES);
  const rejected = (): StepError | null => {
    const reason = readRejection(output);
    if (reason === null) return null;
    return new StepError(
      'BENCHMARK_REJECTED',
      `The benchmark rejected the artifact: ${reason || 'no reason given'}.`,
      {
        hint: `A validator would reject it too. The whole output: ${ended.files.log}`,
      },
    );
  };
  if (!hasSucceeded(ended))
    throw rejected() ?? toProgramError('The benchmark', ended, 'BENCHMARK_FAILED');

  let bytes: Buffer | null = null;
  let result: Json = null;
  if (task.resultPath !== undefined) {
    bytes = await git.files.read(workspace.path, task.resultPath, MOST_RESULT_BYTES);
    if (bytes === null) {
      throw (
        rejected() ??
        new StepError(
          'METRIC_MISSING',
          `The benchmark exited with status 0 and wrote no result file ${task.resultPath}.`,
          {
            hint: `Its output: ${ended.files.log}`,
          },
        )
      );
    }
    if (ended.adopted) await assertNotPutBack(workspace, task.resultPath, bytes, context);
    result = parseResult(bytes, task.resultPath);
  }
  const read = (name: string): MetricReading =>
    bytes === null ? readConsoleMetric(output, name) : readResultMetric(result, name);
  const require = (name: string): number => {
    const reading = read(name);
    if (reading.kind === 'value') return reading.value;
    const place = task.resultPath ?? "the benchmark's output";
    if (reading.kind === 'missing') {
      throw (
        rejected() ?? new StepError('METRIC_MISSING', `${place} does not hold the metric ${name}.`)
      );
    }
    throw new StepError(
      'METRIC_NOT_FINITE',
      `The metric ${name} in ${place} is ${reading.found}, which is no finite number.`,
      {
        hint: 'A validator might accept it; a measurement of ours does not.',
      },
    );
  };
  const value = require(task.metricName);
  const { secondaryMetricName } = task;
  return {
    value,
    ...(secondaryMetricName === undefined
      ? {}
      : { secondary: { metric: secondaryMetricName, value: require(secondaryMetricName) } }),
    bytes,
    content: isJsonObject(result) ? result : {},
  };
}

/** An earlier attempt may have put a committed result file back before it was lost: that is no measurement. */
async function assertNotPutBack(
  workspace: Workspace,
  resultPath: string,
  bytes: Buffer,
  { adapters: { git }, signal }: StepContext,
): Promise<void> {
  const committed = await git.readTracked(workspace, resultPath, signal);
  if (committed?.bytes.equals(bytes) !== true) return;
  throw new StepError(
    'PROGRAM_LOST',
    `The result of the benchmark is no longer in ${resultPath}.`,
    {
      hint: 'The worker was lost after the benchmark had ended; it is run again.',
    },
  );
}

function parseResult(bytes: Buffer, resultPath: string): Json {
  let result: Json;
  try {
    result = parsePythonJson(
      new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
    );
  } catch (error) {
    throw new StepError('METRIC_MISSING', `The result file ${resultPath} is no JSON in UTF-8.`, {
      cause: error,
    });
  }
  if (!isNestedTooDeeply(result)) return result;
  throw new StepError('METRIC_MISSING', `The result file ${resultPath} is nested too deeply.`);
}

/** Stores what the fingerprint digests, so that each digest can be looked up again. */
async function toEvidence(
  workspace: Workspace,
  task: Task,
  { content, bytes }: BenchmarkResult,
  { adapters: { processes, store } }: StepContext,
): Promise<{ fingerprint: Measurement['fingerprint']; resultFile?: FileRef }> {
  const digest = async (value: Json): Promise<string> =>
    (await store.putBytes(canonicalJson(value))).sha256;
  const { heldout, runtime, device } = measuredConditions(content);
  return {
    fingerprint: {
      command: task.benchmarkCommand,
      commit: workspace.commit,
      heldoutSha256: await digest(heldout),
      // With one directory for all: that two workspaces lie in two places is no difference.
      environmentSha256: await digest(processes.standardEnvironment('/workspace')),
      device,
      runtimeSha256: await digest(runtime),
    },
    ...(bytes === null ? {} : { resultFile: await store.putBytes(bytes) }),
  };
}

/** Puts a committed result file back; any other change of a tracked file is an error. */
async function restoreResultFile(
  workspace: Workspace,
  task: Task,
  { adapters: { git }, signal }: StepContext,
): Promise<void> {
  const { changed } = await git.look(workspace, signal);
  const others = changed.filter((file) => file !== task.resultPath);
  if (others.length > 0) throw workspaceChanged(others, 'were changed by the benchmark');
  await git.restore(workspace, changed, signal);
}
