import {
  bundleWorkflowCode,
  type Logger,
  type WorkflowBundleWithSourceMap,
} from '@temporalio/worker';

/** Bundles the workflow code for the sandbox. The bundle and the worker must be of the same SDK version. */
export function bundleWorkflows(options: {
  readonly workflowsPath: string;
  readonly logger: Logger;
}): Promise<WorkflowBundleWithSourceMap> {
  return bundleWorkflowCode(options);
}
