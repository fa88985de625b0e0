import { expect, test } from 'vitest';
import { bundleOfWorkingTree } from '../support/workflow-bundle.js';

test('the workflow bundle holds Temporal, core and workflows, and nothing else', async () => {
  const { code } = await bundleOfWorkingTree();
  const modules = new Set(
    [...code.matchAll(/^\/\*\*\*\/ "(\.[^"]+)"/gm)].map(([, file]) => file ?? ''),
  );
  const packages = new Set<string>();
  const folders = new Set<string>();
  for (const file of modules) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules)/.exec(file);
    if (found?.[1] !== undefined) packages.add(found[1]);
    else folders.add(file.split('/')[1] ?? '');
  }
  expect([...packages].toSorted()).toEqual([
    '@temporalio/common',
    '@temporalio/workflow',
    'long',
    'ms',
    'nexus-rpc',
  ]);
  expect([...folders].toSorted()).toEqual(['core', 'workflows']);
});
