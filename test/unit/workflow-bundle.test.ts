import { readdirSync, readFileSync } from 'node:fs';
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

test('all of core is loaded once for the runs of a worker, and keeps no state between them', async () => {
  const { code } = await bundleOfWorkingTree();
  expect(code).toMatch(/preloadModules\(\) \{\s+__webpack_require__\([^)]*shared-modules\.ts"\)/);
  const folder = new URL('../../core/', import.meta.url);
  const files = readdirSync(folder).filter((file) => /(?<!\.test)\.ts$/.test(file));
  expect(files.length).toBeGreaterThan(20);
  for (const file of files) {
    const text = readFileSync(new URL(file, folder), 'utf8');
    // What could change: a variable, and a list, an object or a collection that begins empty.
    expect(text, file).not.toMatch(
      /^(?:export )?(?:let|var) |^(?:export )?const \w+(?:: [^=]+)? = (?:new \w+\(\)|\[\]|\{\});/m,
    );
  }
});
