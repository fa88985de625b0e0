/** What starters and readers of a run share with the workflow: names and plain types, no behaviour. */
import type { Plan } from '../core/plan.js';
import type { RunState } from '../core/run-state.js';

/** Workflow type of every run; the pipeline's name is in the workflow id and in `AditPipeline`. */
export const WORKFLOW_TYPE = 'runPipeline';

/** Query that answers with a `RunView`. */
export const STATE_QUERY = 'state';

/** Activity that writes the end of a run into its evidence folder. */
export const RECORD_ACTIVITY = 'adit.record';

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
}

/** Memo of a run under the key `adit`: readable with all workers down. */
export interface RunMemo {
  readonly pipeline: string;
  readonly roundId: string;
  readonly sourceSha256: string;
  /** The run's evidence folder, on the machine that started it. */
  readonly evidence: string;
}
