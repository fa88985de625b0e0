/** What a validator job says, read tolerantly (protocol 4.1, 4.2). */
import { z } from 'zod';

/** An empty text counts as absent, as `or` does in Python. */
const text = z
  .string()
  .nullish()
  .transform((value) => (value === null || value === '' ? undefined : value));

const taskPart = z.looseObject({
  repository: text,
  base_ref: text,
  setup_command: z.string().nullish(),
  benchmark_command: text,
  result_path: text,
  allowed_patch_paths: z.array(z.string()).nullish(),
  max_patch_bytes: z.number().nullish(),
  metric_name: text,
  secondary_metric_name: text,
  time_budget_seconds: z.number().nullish(),
});

const environment = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).nullish();

const specPart = taskPart.extend({
  base_commit_sha: text,
  validator_benchmark_env: environment,
  benchmark_env: environment,
});

const submissionPart = z.looseObject({
  id: text,
  base_ref: text,
  base_commit_sha: text,
  patch: z.string().nullish(),
  artifact_uri: text,
  artifact_sha256: text,
  artifact_size_bytes: z.number().nullish(),
  replay_spec: specPart.nullish(),
});

const detailPart = z.looseObject({
  submission: submissionPart.nullish(),
  replay_spec: specPart.nullish(),
  task: taskPart.nullish(),
});

const jobPart = z.looseObject({
  job_id: text,
  id: text,
  status: z.string().nullish(),
  submission_id: text,
  submission: submissionPart.nullish(),
  detail: detailPart.nullish(),
  replay_spec: specPart.nullish(),
  task: taskPart.nullish(),
});

/** Everything a replay needs. Sizes in bytes; `ref` is the pinned commit where the coordinator names one. */
export interface ReplayJob {
  readonly jobId: string;
  readonly submissionId: string;
  readonly repository: string;
  readonly ref: string;
  readonly patch: string;
  readonly allowedPatchPaths: readonly string[];
  readonly maxPatchBytes: number;
  readonly setupCommand: string;
  readonly benchmarkCommand: string;
  /** Relative to the repository root; undefined when metrics are read from the console. */
  readonly resultPath: string | undefined;
  readonly metricName: string;
  readonly secondaryMetricName: string | undefined;
  readonly timeBudgetSeconds: number;
  readonly benchmarkEnvironment: Readonly<Record<string, string>>;
  readonly artifactUri: string | undefined;
  readonly artifactSha256: string | undefined;
  readonly artifactSizeBytes: number | undefined;
}

const DEFAULT_REF = 'HEAD';
const DEFAULT_MAX_PATCH_BYTES = 262_144;
const DEFAULT_TIME_BUDGET_SECONDS = 3_600;
const NO_JOB = new Set(['idle', 'empty', 'none']);

/** The payloads of a scan reply that are jobs, still unread. A reply may also be one job. */
export function listJobs(reply: unknown): unknown[] {
  const list = z.looseObject({ jobs: z.array(z.unknown()) }).safeParse(reply);
  return (list.success ? list.data.jobs : [reply]).filter(isJob);
}

function isJob(payload: unknown): boolean {
  const read = z.looseObject({ status: z.string().nullish() }).safeParse(payload);
  return read.success && !NO_JOB.has(read.data.status ?? '');
}

/**
 * The replay of one job payload. `fetchDetail` is asked for the submission's detail only when the payload names a
 * submission without holding it. Each value comes from the stored specification, else (the ref) from the submission,
 * else from the task, else a default. Throws when the job cannot be replayed at all.
 */
export async function readJob(
  payload: unknown,
  fetchDetail: (submissionId: string) => Promise<unknown>,
): Promise<ReplayJob> {
  const wrapped = z.looseObject({ job: z.unknown() }).safeParse(payload);
  const job = jobPart.parse(
    wrapped.success && wrapped.data.job !== undefined ? wrapped.data.job : payload,
  );
  const held = job.submission ?? job.detail?.submission;
  const named = held?.id ?? job.submission_id;
  const jobId = required(job.job_id ?? job.id, 'an id');
  const submissionId = required(named, 'a submission');
  const detail = held ? job.detail : detailPart.parse(await fetchDetail(submissionId));
  const submission = required(held ?? detail?.submission, 'a submission');
  const spec = job.replay_spec ?? detail?.replay_spec ?? submission.replay_spec;
  const task = job.task ?? detail?.task;
  return {
    jobId,
    submissionId,
    repository: required(spec?.repository ?? task?.repository, 'a repository'),
    ref:
      spec?.base_commit_sha ??
      spec?.base_ref ??
      submission.base_commit_sha ??
      submission.base_ref ??
      task?.base_ref ??
      DEFAULT_REF,
    patch: submission.patch ?? '',
    allowedPatchPaths: spec?.allowed_patch_paths ?? task?.allowed_patch_paths ?? [],
    maxPatchBytes: spec?.max_patch_bytes ?? task?.max_patch_bytes ?? DEFAULT_MAX_PATCH_BYTES,
    setupCommand: spec?.setup_command ?? task?.setup_command ?? '',
    benchmarkCommand: required(
      spec?.benchmark_command ?? task?.benchmark_command,
      'a benchmark command',
    ),
    resultPath: spec?.result_path ?? task?.result_path ?? undefined,
    metricName: required(spec?.metric_name ?? task?.metric_name, 'a metric name'),
    secondaryMetricName: spec?.secondary_metric_name ?? task?.secondary_metric_name ?? undefined,
    timeBudgetSeconds:
      spec?.time_budget_seconds ?? task?.time_budget_seconds ?? DEFAULT_TIME_BUDGET_SECONDS,
    benchmarkEnvironment: toText(spec?.validator_benchmark_env ?? spec?.benchmark_env ?? {}),
    artifactUri: submission.artifact_uri ?? undefined,
    artifactSha256: submission.artifact_sha256?.trim().toLowerCase(),
    artifactSizeBytes: submission.artifact_size_bytes ?? undefined,
  };
}

function required<Value>(value: Value | null | undefined, what: string): Value {
  if (value === null || value === undefined) {
    throw new Error(`A validator job without ${what} cannot be replayed.`);
  }
  return value;
}

function toText(
  values: Readonly<Record<string, string | number | boolean>>,
): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]));
}
