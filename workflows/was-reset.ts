import { workflowInfo } from '@temporalio/workflow';
import type { CarriedOver } from './contract.js';

/**
 * True when this execution, or one before it of the same run, was reset: what the run does now for the first time it
 * may have done before.
 */
export function wasReset(carried: CarriedOver | undefined): boolean {
  const { runId, originalExecutionRunId } = workflowInfo();
  return runId !== originalExecutionRunId || carried?.reset === true;
}
