/** Builds the workflow bundle once, at build time: a worker then starts in a second, with what was tested. */
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { DefaultLogger } from '@temporalio/worker';
import { bundleWorkflows } from './workflow-bundle.js';

const bundle = await bundleWorkflows({
  workflowsPath: fileURLToPath(new URL('../workflows/run-pipeline.js', import.meta.url)),
  logger: new DefaultLogger('WARN'),
});
await writeFile(new URL('../dist/workflow-bundle.js', import.meta.url), bundle.code);
