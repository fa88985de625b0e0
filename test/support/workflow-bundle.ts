import { fileURLToPath } from 'node:url';
import { DefaultLogger, type WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { bundleWorkflows } from '../../worker/workflow-bundle.js';

/** The workflow code of the working tree, bundled as the build does. */
export function bundleOfWorkingTree(): Promise<WorkflowBundleWithSourceMap> {
  return bundleWorkflows({
    workflowsPath: fileURLToPath(new URL('../../workflows/run-pipeline.ts', import.meta.url)),
    logger: new DefaultLogger('ERROR'),
  });
}
