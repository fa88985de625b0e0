/** What the coordinator keeps, in the words and spelling of the API (protocol 2.4 to 2.9). */
import type { JsonNumber } from '../auth/json-numbers.js';

export type Metrics = Readonly<Record<string, JsonNumber>>;

export interface TaskRecord {
  readonly id: string;
  readonly slug: string;
  readonly title: string;
  readonly brief: string | null;
  readonly repository: string;
  readonly base_ref: string;
  readonly setup_command: string | null;
  readonly benchmark_command: string;
  readonly result_path: string | null;
  readonly allowed_patch_paths: readonly string[];
  readonly max_patch_bytes: number;
  readonly metric_name: string;
  readonly metric_direction: 'minimize' | 'maximize';
  readonly ranking_mode: 'scalar' | 'pareto';
  readonly secondary_metric_name: string | null;
  readonly secondary_metric_direction: 'minimize' | 'maximize' | null;
  readonly competition_mode: 'standard' | 'centerless' | 'peer_evaluation';
  readonly min_peer_evaluations: number;
  readonly time_budget_seconds: number;
  readonly task_state: 'live' | 'paused' | 'closed';
  readonly is_active: boolean;
  readonly onboard_path: string;
  readonly created_at: string;
  readonly updated_at: string;
  /** Never public. */
  readonly hidden: {
    readonly onboard_md: string | null;
    readonly validator_benchmark_env: Readonly<Record<string, string>>;
    readonly best_submission_id: string | null;
  };
}

export interface ClaimRecord {
  readonly id: string;
  readonly task_id: string;
  readonly miner_hotkey: string;
  readonly claim_description: string;
  readonly status: string;
  readonly base_submission_id: string | null;
  readonly work_item_id: string | null;
  readonly expires_at: string;
  readonly created_at: string;
  readonly updated_at: string;
}

export interface WorkItemRecord {
  readonly id: string;
  readonly task_id: string;
  readonly title: string;
  readonly instructions: string;
  readonly priority: number;
  readonly status: 'open' | 'claimed' | 'completed';
  readonly claim_id: string | null;
  readonly base_submission_id: string | null;
  readonly created_at: string;
}

export interface ReplaySpec {
  readonly repository: string;
  readonly base_ref: string;
  readonly base_commit_sha: string | null;
  readonly setup_command: string | null;
  readonly benchmark_command: string;
  readonly result_path: string | null;
  readonly allowed_patch_paths: readonly string[];
  readonly max_patch_bytes: number;
  readonly metric_name: string;
  readonly metric_direction: string;
  readonly ranking_mode: string;
  readonly secondary_metric_name: string | null;
  readonly secondary_metric_direction: string | null;
  readonly validator_benchmark_env: Readonly<Record<string, string>>;
  readonly time_budget_seconds: number;
}

export type FinalStatus = 'accepted' | 'rejected' | 'error';

export interface SubmissionRecord {
  readonly id: string;
  readonly task_id: string;
  readonly claim_id: string;
  readonly miner_hotkey: string;
  readonly status: 'pending_verification' | FinalStatus;
  readonly base_ref: string;
  readonly base_commit_sha: string | null;
  readonly patch: string;
  readonly summary: string;
  readonly claimed_metrics: Metrics;
  readonly observed_metrics: Metrics;
  readonly proposed_idea: string | null;
  readonly implemented_submission_id: string | null;
  readonly artifact_uri: string | null;
  readonly artifact_sha256: string | null;
  readonly artifact_size_bytes: number | null;
  readonly created_at: string;
  readonly updated_at: string;
  /** Kept beside the public record. */
  readonly hidden: {
    readonly execution_log: string | null;
    readonly replay_spec: ReplaySpec;
    readonly accepted_at: string | null;
    readonly was_best: boolean;
  };
}

/** A validator job; once it has a result its id is the verification's id (protocol 2.7). */
export interface JobRecord {
  readonly id: string;
  readonly submission_id: string;
  readonly task_id: string;
  readonly status: 'pending' | FinalStatus;
  readonly observed_metrics: Metrics;
  readonly notes: string | null;
  readonly validator_hotkey: string | null;
  readonly created_at: string;
  readonly updated_at: string;
  readonly hidden: {
    readonly replay_log: string | null;
    readonly leased_to: string | null;
    readonly leased_until: string | null;
  };
}

export interface PeerEvaluationRecord {
  readonly id: string;
  readonly submission_id: string;
  readonly task_id: string;
  readonly evaluator_hotkey: string;
  readonly status: FinalStatus;
  readonly observed_metrics: Metrics;
  readonly notes: string | null;
  readonly created_at: string;
}

export interface IdeaRewardRecord {
  readonly id: string;
  readonly task_id: string;
  readonly submission_id: string;
  readonly implemented_submission_id: string;
  readonly proposer_hotkey: string;
  readonly implementer_hotkey: string;
  readonly created_at: string;
}

/** The record as anybody may see it. */
export function publicRecord<T extends { readonly hidden: unknown }>(record: T): Omit<T, 'hidden'> {
  const { hidden: _hidden, ...visible } = record;
  return visible;
}
