import {
  bundleWorkflowCode,
  type Logger,
  type WorkflowBundleWithSourceMap,
} from '@temporalio/worker';

/**
 * The SDK takes a stack trace for every promise that a workflow makes, with an error that it makes without arguments,
 * as nothing else in the sandbox does. Those were a fifth of what a step costs there, and tell the same few lines of the
 * interpreter for every pipeline: where a run stands its current details say. Such an error gets no trace here; every
 * other one begins where it was made. It stands before the bundle: after loading it, the SDK freezes `Error`. Not on a
 * line of its own, by which the source map would be off.
 */
const NO_TRACES_OF_PROMISES = [
  'globalThis.Error = new Proxy(Error, { construct: function construct(target, args, made) {',
  'if (made !== globalThis.Error) return Reflect.construct(target, args, made);',
  "if (args.length === 0) return { stack: '' };",
  'const error = Reflect.construct(target, args);',
  'target.captureStackTrace(error, construct);',
  'return error; } }); ',
].join(' ');

/**
 * Bundles the workflow code for the sandbox. Its modules are loaded once, with the sandbox, and are those of all runs of
 * a worker: their code stays warm from one run to the next, and none of them may keep state of its own. The bundle and
 * the worker must be of the same SDK version.
 */
export async function bundleWorkflows(options: {
  readonly workflowsPath: string;
  readonly logger: Logger;
}): Promise<WorkflowBundleWithSourceMap> {
  const preloadModules = [options.workflowsPath];
  const bundle = await bundleWorkflowCode({ ...options, preloadModules });
  return { ...bundle, code: `${NO_TRACES_OF_PROMISES}${bundle.code}` };
}
