import path from 'node:path';
import {
  bundleWorkflowCode,
  type Logger,
  type WorkflowBundleWithSourceMap,
} from '@temporalio/worker';

/**
 * Frames of a stack trace inside the sandbox: where an error was made, and who called that. The SDK takes one for every
 * promise that a workflow makes, and at the usual ten they are the larger part of what a step costs there; what they
 * tell is the same few lines of the interpreter for every pipeline, so where a run stands its current details say. It
 * stands before the bundle: after loading it, the SDK freezes `Error`. Not on a line of its own, by which the source map
 * would be off.
 */
const FEWER_FRAMES = 'Error.stackTraceLimit = 2; ';

/** Bundles the workflow code for the sandbox, with its `shared-modules` beside it. The bundle and the worker must be of the same SDK version. */
export async function bundleWorkflows(options: {
  readonly workflowsPath: string;
  readonly logger: Logger;
}): Promise<WorkflowBundleWithSourceMap> {
  const { dir, ext } = path.parse(options.workflowsPath);
  const preloadModules = [path.join(dir, `shared-modules${ext}`)];
  const bundle = await bundleWorkflowCode({ ...options, preloadModules });
  return { ...bundle, code: `${FEWER_FRAMES}${bundle.code}` };
}
