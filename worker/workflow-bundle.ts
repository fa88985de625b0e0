import {
  bundleWorkflowCode,
  type Logger,
  type WorkflowBundleWithSourceMap,
} from '@temporalio/worker';

/**
 * Frames of a stack trace inside the sandbox. The SDK takes one for every promise that a workflow makes, and at the usual
 * ten they are the larger part of what a step costs there. It stands before the bundle: after loading it, the SDK
 * freezes `Error`. Not on a line of its own, by which the source map would be off.
 */
const FEWER_FRAMES = 'Error.stackTraceLimit = 4; ';

/** Bundles the workflow code for the sandbox. The bundle and the worker must be of the same SDK version. */
export async function bundleWorkflows(options: {
  readonly workflowsPath: string;
  readonly logger: Logger;
}): Promise<WorkflowBundleWithSourceMap> {
  const bundle = await bundleWorkflowCode(options);
  return { ...bundle, code: `${FEWER_FRAMES}${bundle.code}` };
}
