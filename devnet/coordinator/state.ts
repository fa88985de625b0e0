/** What the coordinator works on: its tables, clock and settings, and the one sweep over time. */
import { randomUUID } from 'node:crypto';
import { toTimestamp, type DevnetClock } from '../state/clock.js';
import type { DevnetDatabase, DocumentTable } from '../state/database.js';
import type {
  ClaimRecord,
  IdeaRewardRecord,
  JobRecord,
  PeerEvaluationRecord,
  SubmissionRecord,
  TaskRecord,
  WorkItemRecord,
} from './records.js';
import type { SettingsStore } from './settings.js';

/** The stored value that says how often each counting route was asked to act. */
export const COUNTED_EFFECTS = 'counted_effects';

export interface CoordinatorState {
  readonly database: DevnetDatabase;
  readonly clock: DevnetClock;
  readonly settings: SettingsStore;
  readonly tasks: DocumentTable<TaskRecord>;
  readonly claims: DocumentTable<ClaimRecord>;
  readonly workItems: DocumentTable<WorkItemRecord>;
  readonly submissions: DocumentTable<SubmissionRecord>;
  readonly jobs: DocumentTable<JobRecord>;
  readonly peerEvaluations: DocumentTable<PeerEvaluationRecord>;
  readonly ideaRewards: DocumentTable<IdeaRewardRecord>;
  /** Told after every accepted submission: the Pool's cue. */
  readonly onAccepted: () => void;
}

export function createCoordinatorState(parts: {
  database: DevnetDatabase;
  clock: DevnetClock;
  settings: SettingsStore;
  onAccepted: () => void;
}): CoordinatorState {
  const { database } = parts;
  return {
    ...parts,
    tasks: database.table('task'),
    claims: database.table('claim'),
    workItems: database.table('work_item'),
    submissions: database.table('submission'),
    jobs: database.table('validator_job'),
    peerEvaluations: database.table('peer_evaluation'),
    ideaRewards: database.table('idea_reward'),
  };
}

const TABLES = [
  'claim',
  'work_item',
  'submission',
  'validator_job',
  'peer_evaluation',
  'idea_reward',
  // Of the Pool, which pays for submissions.
  'epoch',
];

/** No claim, nothing that was submitted, counted or paid, and the machine's time; the tasks stay. */
export function forgetEverything({ database, clock, tasks }: CoordinatorState): void {
  database.transact(() => {
    for (const task of tasks.list())
      tasks.replace({ ...task, hidden: { ...task.hidden, best_submission_id: null } });
    database.empty(TABLES);
    database.writeValue(COUNTED_EFFECTS, {});
    clock.reset();
  });
}

/** Now, as the coordinator writes times. */
export function now(state: CoordinatorState): string {
  return toTimestamp(state.clock.nowMs());
}

export function newId(): string {
  return randomUUID();
}

/** Ends the claims whose time is over and frees their work items. Before every request. */
export function expireClaims(state: CoordinatorState): void {
  const at = now(state);
  for (const claim of state.claims.list({ status: 'active' })) {
    // Timestamps are of one length and zone, so text order is time order.
    if (claim.expires_at > at) continue;
    // Both or none: nobody would look again for the item of a claim that is already expired.
    state.database.transact(() => {
      state.claims.replace({
        ...claim,
        status: state.settings.read().expiredClaimStatus,
        updated_at: at,
      });
      freeWorkItem(state, claim);
    });
  }
}

/** Its work item, if it has one, is open to others again (inferred, protocol 8). */
export function freeWorkItem(state: CoordinatorState, claim: ClaimRecord): void {
  const item = claim.work_item_id === null ? null : state.workItems.get(claim.work_item_id);
  if (item !== null && item.claim_id === claim.id) {
    state.workItems.replace({ ...item, status: 'open', claim_id: null });
  }
}
