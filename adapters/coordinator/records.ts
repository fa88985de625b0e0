/**
 * The coordinator's objects, read tolerantly: the members that Adit uses are checked and typed, and the
 * whole object stays beside them in `raw`, unknown keys included (protocol 2.4 to 2.7).
 */
import { z } from 'zod';
import type { JsonObject } from '../../core/json.js';

/** An id goes into a request path, so it may hold nothing that has a meaning there. */
const id = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/);
/** Null, blank and absent all mean that there is none. */
const optionalText = z
  .string()
  .nullish()
  .transform((text) =>
    text === null || text === undefined || text.trim() === '' ? undefined : text,
  );
const direction = z.enum(['minimize', 'maximize']);

/** ISO 8601; without a zone it is UTC (protocol 2.5). Milliseconds since the epoch. */
const instant = z.string().transform((text, context) => {
  const zoned = /(?:Z|[+-]\d{2}:?\d{2})$/i.test(text) ? text : `${text}Z`;
  const ms = Date.parse(zoned);
  if (Number.isNaN(ms)) context.addIssue({ code: 'custom', message: 'is no ISO 8601 time' });
  return ms;
});

const taskMembers = z.object({
  id,
  slug: z.string().min(1),
  title: z.string(),
  repository: z.string().min(1),
  base_ref: z.string().min(1),
  setup_command: optionalText,
  benchmark_command: z.string().min(1),
  result_path: optionalText,
  allowed_patch_paths: z.array(z.string()),
  max_patch_bytes: z.int().positive().default(262_144),
  // Blanks alone name nothing, and would be looked for at every blank of a benchmark's output.
  metric_name: z.string().regex(/\S/),
  metric_direction: direction,
  ranking_mode: z.string().default('scalar'),
  secondary_metric_name: optionalText,
  secondary_metric_direction: direction.nullish(),
  // On reading, a missing mode is `standard` (protocol 7.1 item 9).
  competition_mode: z.string().default('standard'),
  min_peer_evaluations: z.int().nullish(),
  time_budget_seconds: z.int().positive(),
  task_state: z.string(),
  is_active: z.boolean(),
  onboard_path: optionalText,
});

const claimMembers = z.object({
  id,
  task_id: z.string(),
  miner_hotkey: z.string(),
  claim_description: z.string(),
  status: z.string(),
  expires_at: instant,
  created_at: instant,
  participation_disclaimer: z
    .object({
      code: z.string(),
      version: z.string(),
      title: z.string(),
      must_display: z.boolean(),
      url: optionalText,
      summary: optionalText,
    })
    .nullish()
    // A text in another shape must not cost a claim that exists.
    .catch(null),
});

const metrics = z.record(z.string(), z.unknown()).nullish();

const submissionMembers = z.object({
  id,
  task_id: z.string().nullish(),
  claim_id: z.string().nullish(),
  miner_hotkey: z.string(),
  status: z.string(),
  created_at: instant.optional().catch(undefined),
  observed_metrics: metrics,
});

type TaskMembers = z.output<typeof taskMembers>;
type ClaimMembers = z.output<typeof claimMembers>;
type SubmissionMembers = z.output<typeof submissionMembers>;

/** A record as typed members, and as it was served. */
export interface Served<Members> {
  readonly known: Members;
  readonly raw: JsonObject;
}
export type TaskRecord = Served<TaskMembers>;
export type ClaimRecord = Served<ClaimMembers>;
export type SubmissionRecord = Served<SubmissionMembers>;

/** A record that cannot be read, and why: the member and what is wrong with it. */
export interface Unreadable {
  readonly problem: string;
}

export const toTask = (raw: JsonObject): TaskRecord | Unreadable => read('task', taskMembers, raw);
export const toClaim = (raw: JsonObject): ClaimRecord | Unreadable =>
  read('claim', claimMembers, raw);
export const toSubmission = (raw: JsonObject): SubmissionRecord | Unreadable =>
  read('submission', submissionMembers, raw);

function read<Members>(
  name: string,
  schema: z.ZodType<Members>,
  raw: JsonObject,
): Served<Members> | Unreadable {
  const parsed = schema.safeParse(raw);
  if (parsed.success) return { known: parsed.data, raw };
  const issue = parsed.error.issues[0];
  return {
    problem: `a ${name} whose ${issue?.path.join('.') ?? 'content'} cannot be used (${issue?.message ?? ''})`,
  };
}
