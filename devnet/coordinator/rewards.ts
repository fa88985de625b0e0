/** The reward policy and snapshot (protocol 5), and what the Pool pays for. */
import { z } from 'zod';
import { isJsonNumber, toNumber } from '../auth/json-numbers.js';
import { bestSubmission } from './submissions.js';
import { now, type CoordinatorState } from './state.js';

const positive = z
  .custom<number>(
    (value) => isJsonNumber(value) && toNumber(value) > 0,
    'Input should be greater than 0',
  )
  .transform(toNumber);
const target = z
  .object({
    weight: positive,
    uid: z.number().int().nonnegative().optional(),
    hotkey: z.string().optional(),
  })
  .refine(
    (each) => (each.uid === undefined) !== (each.hotkey === undefined),
    'exactly one of uid and hotkey',
  );

export const rewardPolicySchema = z.looseObject({
  validator_weights: z.looseObject({
    mode: z.enum(['local', 'burn_uid0', 'targets']).default('local'),
    targets: z.array(target).default([]),
    transition_policy: z.looseObject({}).optional(),
  }),
});

export type RewardPolicy = z.output<typeof rewardPolicySchema>;

export function readRewardPolicy(state: CoordinatorState): RewardPolicy {
  const stored = state.database.readValue('reward_policy');
  return rewardPolicySchema.parse(stored ?? { validator_weights: {} });
}

/** Members besides `reward_policy` are not public: these are our construction. */
export function rewardSnapshot(state: CoordinatorState): Record<string, unknown> {
  return {
    generated_at: now(state),
    reward_policy: readRewardPolicy(state),
    accepted_outcomes: state.submissions.list({ status: 'accepted' }).map((submission) => ({
      submission_id: submission.id,
      task_id: submission.task_id,
      miner_hotkey: submission.miner_hotkey,
      observed_metrics: submission.observed_metrics,
      accepted_at: submission.hidden.accepted_at,
    })),
    best_results: state.tasks.list().flatMap((task) => {
      const best = bestSubmission(state, task);
      return best === null
        ? []
        : [{ task_id: task.id, submission_id: best.id, miner_hotkey: best.miner_hotkey }];
    }),
    idea_rewards: state.ideaRewards.list(),
  };
}

/** What one accepted submission earns, by hotkey, in units of the setting `rewardUnitRao`. */
export interface EarnedReward {
  readonly submissionId: string;
  readonly shares: readonly { readonly hotkey: string; readonly units: number }[];
}

/** Accepted +1, a new best +1, idea proposer and implementer +0.5 each (protocol 5, without decay). */
export function earnedRewards(state: CoordinatorState): EarnedReward[] {
  const ideas = state.ideaRewards.list();
  return state.submissions.list({ status: 'accepted' }).map((submission) => ({
    submissionId: submission.id,
    shares: [
      { hotkey: submission.miner_hotkey, units: submission.hidden.was_best ? 2 : 1 },
      ...ideas
        .filter((idea) => idea.submission_id === submission.id)
        .flatMap((idea) => [
          { hotkey: idea.proposer_hotkey, units: 0.5 },
          { hotkey: idea.implementer_hotkey, units: 0.5 },
        ]),
    ],
  }));
}
