/** What starters and readers of a run share with the workflow: names and plain types, no behaviour. */
import type { JsonObject } from '../core/json.js';
import type { Frame } from '../core/frame.js';
import type { Hook, Notice, NoticeEvent } from '../core/notice.js';
import type { ApprovalAnswer, ApprovalState, AskedApproval } from '../core/open-approval.js';
import type { Plan } from '../core/plan.js';
import type { RunState } from '../core/run-state.js';

/** Workflow type of every run; the pipeline's name is in the workflow id and in `AditPipeline`. */
export const WORKFLOW_TYPE = 'runPipeline';

/** Query that answers with a `RunView`. */
export const STATE_QUERY = 'state';

/** Query that answers with the `RunState`, outputs included: what `adit retry` starts from. */
export const RUN_STATE_QUERY = 'runState';

/** Update that decides for a parked step; its argument is a `Decision`, its result a `DecisionResult`. */
export const DECIDE_UPDATE = 'decide';

/** Update that answers an approval; its argument is an `Approval`, its result an `ApprovalResult`. */
export const APPROVE_UPDATE = 'approve';

/** Query for what the approval of a step, given by its path, shows: an `ApprovalView`, null when it is not waited for. */
export const APPROVAL_QUERY = 'approval';

/** Signal: no longer wait for hosts that are silent; the programs of cancelled steps may go on there. */
export const ABANDON_SIGNAL = 'abandon';

/** Signal: what a `finally` does is cancelled with the run. In a run that is not cancelled it changes nothing. */
export const FORCE_SIGNAL = 'force';

/** Activity that writes the end of a run into its evidence folder. */
export const RECORD_ACTIVITY = 'adit.record';

/** Activity on the shared queue that names a host's queue, for programs that need no workspace. */
export const PLACE_ACTIVITY = 'adit.place';

/** Activity on a host's queue that ends what is left of a step's programs there, and returns when nothing is. */
export const END_PROGRAM_ACTIVITY = 'adit.end_program';

/** Activity that checks outputs which a person gives for a parked step, by the step type's own schema. */
export const CHECK_OUTPUTS_ACTIVITY = 'adit.check_outputs';

/** Workflow type of a lock: it waits until its parent, a run, has closed. Its id names what is locked. */
export const ROUND_LOCK_TYPE = 'roundLock';

/** Activity that tells one hook of one event; its result is `delivered`, or `not set`. */
export const NOTIFY_ACTIVITY = 'adit.notify';

/** Workflow type of the delivery of one event to all hooks; its id is that of the event. */
export const NOTIFICATION_TYPE = 'notification';

/** Argument of NOTIFY_ACTIVITY. */
export interface NotifyArgs {
  readonly notice: Notice;
  readonly hook: Hook;
  /** A worker that does not have the hook fails, so that another one, or the same with other settings, tries again. */
  readonly required: boolean;
}

/** Argument of PLACE_ACTIVITY. */
export interface PlaceArgs {
  readonly runId: string;
}

/** Result of PLACE_ACTIVITY. */
export interface PlaceResult {
  /** Task queue of the host that was chosen. */
  readonly queue: string;
}

/** Argument of END_PROGRAM_ACTIVITY. */
export interface EndProgramArgs {
  readonly runId: string;
  readonly stepPath: string;
}

/** Argument of CHECK_OUTPUTS_ACTIVITY; it fails with DECISION_INVALID, or returns the outputs as parsed. */
export interface CheckOutputsArgs {
  readonly uses: string;
  readonly outputs: JsonObject;
}

/** What a person says about a parked step. */
export interface Decision {
  /** Made by the one who decides; the same id counts once. */
  readonly id: string;
  /** Path of the parked step. */
  readonly step: string;
  /** Begin the next start, take `outputs` as the step's, or let it fail with its code. */
  readonly action: 'retry' | 'value' | 'fail';
  readonly outputs?: JsonObject;
  /** Who decided: self-asserted. */
  readonly by: string;
  readonly reason?: string;
}

export interface DecisionResult {
  readonly step: string;
  readonly action: Decision['action'];
  /** True when this id had been counted before. */
  readonly repeated: boolean;
}

/** What a person says to an approval. */
export interface Approval extends ApprovalAnswer {
  /** Made by the one who answers; the same id counts once, with those of decisions. */
  readonly id: string;
  /** Path of the step that waits. */
  readonly step: string;
}

export interface ApprovalResult {
  readonly step: string;
  readonly action: Approval['action'];
  /** True when this id had been counted before. */
  readonly repeated: boolean;
  /** How many have approved now, and how many must. */
  readonly approved: number;
  readonly quorum: number;
}

/** What is shown and asked, and how it stands. */
export interface ApprovalView {
  readonly step: string;
  readonly asked: AskedApproval;
  readonly state: ApprovalState;
}

/** Search attributes, all of type Keyword. */
export const SEARCH_ATTRIBUTES = ['AditPipeline', 'AditTask', 'AditStage', 'AditVerdict'] as const;

/** The argument of the workflow. Its workflow id is the run id. */
export interface RunArgs {
  readonly plan: Plan;
  /** Id of the first run of the round; equal to the run id unless this run is a retry. */
  readonly roundId: string;
  /** Where to go on from; absent for a new run. */
  readonly state?: RunState;
  /** False on a server that refused the search attributes: the run then goes without. */
  readonly searchAttributes: boolean;
  /** The step after whose success the run ends as stopped, with UNTIL_REACHED; its path or its id. */
  readonly until?: string;
  /** When the run should have ended, in milliseconds since the epoch: trainings are ended in time for what follows. */
  readonly deadlineMs?: number;
  /** What has not ended at the deadline is cancelled, and the run fails with RUN_DEADLINE. Absent in older runs. */
  readonly endsAtDeadline?: true;
  /** Absent: nobody is told anything. */
  readonly notify?: {
    readonly events: readonly NoticeEvent[];
    /** Those that are set where the run was started; absent: those that the worker has. */
    readonly hooks?: readonly Hook[];
  };
  /** This workflow is a part of a run, and not the run: it acts as that run, and holds no lock. */
  readonly part?: RunPart;
  /** Workflow id of the lock that this run must hold: one run at a time for a task and a hotkey. */
  readonly lockId?: string;
  /** Only where an execution goes on with a run whose history had grown long. */
  readonly carried?: CarriedOver;
}

/** What an execution hands, beside the RunState, to the one that goes on with the run. */
export interface CarriedOver {
  /** It was reset, or one before it was. */
  readonly reset?: true;
  /** Hosts that are silent are no longer waited for. */
  readonly abandoned?: true;
  /** What a `finally` does is cancelled with the run. */
  readonly forced?: true;
  /** Task queue of the host for programs that need no workspace. */
  readonly queue?: string;
}

/** Which part of which run a child workflow is. */
interface RunPart {
  readonly runId: string;
  /** Path of the step that it is run for; the paths of its own steps begin with it. */
  readonly path: string;
  /** The part is a block of the run's plan, at `path`: what the block can see. */
  readonly frame?: Frame;
  /** It was cancelled before it began: what its state has begun is ended, with its `finally`. */
  readonly cancelled?: true;
}

/** Workflow id of a part of a run. */
export function partId(runId: string, path: string): string {
  return `${runId}/${path}`;
}

/** Memo of a run under the key `adit`: readable with all workers down. */
export interface RunMemo {
  readonly pipeline: string;
  readonly roundId: string;
  readonly sourceSha256: string;
  /** The run's evidence folder, on the machine that started it. */
  readonly evidence: string;
  /** When the run ends at the latest, ISO 8601, UTC; absent: it has no deadline. */
  readonly deadline?: string;
  /** Present in a child workflow: the run that it is a part of, and the path of the part. */
  readonly part?: { readonly runId: string; readonly path: string };
}
