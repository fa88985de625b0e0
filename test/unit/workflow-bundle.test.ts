import { readFileSync } from 'node:fs';
import { createContext, runInContext } from 'node:vm';
import { beforeAll, expect, test } from 'vitest';
import { bundleOfWorkingTree } from '../support/workflow-bundle.js';

let code: string;

beforeAll(async () => {
  ({ code } = await bundleOfWorkingTree());
}, 60_000);

/** The files of the bundle. */
function modules(): string[] {
  const found = code.matchAll(/^\/\*\*\*\/ "(\.[^"]+)"/gm);
  return [...new Set(Array.from(found, ([, file]) => file ?? ''))];
}

test('the workflow bundle holds Temporal, core and workflows, and nothing else', () => {
  const bundled = modules();
  const packages = new Set<string>();
  const folders = new Set<string>();
  for (const file of bundled) {
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

test('all modules are loaded once for the runs of a worker, and keep no state between them', () => {
  expect(code).toMatch(/preloadModules\(\) \{\s+__webpack_require__\([^)]*run-pipeline\.ts"\)/);
  const files = modules().filter((file) => /^\.\/(?:core|workflows)\//.test(file));
  expect(files.length).toBeGreaterThan(40);
  for (const file of files) {
    const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
    // What could change: a variable, a member of a class itself, and a list, an object or a collection that begins empty.
    expect(text, file).not.toMatch(
      /^(?:export )?(?:let|var) |^ +(?:\w+ )*static |^(?:export )?const \w+(?:: [^=]+)? = (?:new \w+\(\)|\[\]|\{\});/m,
    );
    // And an expression that remembers where it was.
    expect(text, file).not.toMatch(/^(?:export )?const \w+(?:: [^=]+)? = \/.*\/[a-z]*[gy][a-z]*;/m);
  }
});

test('an error of a workflow begins where it was made, and one without a word has no trace', () => {
  const before = code.slice(0, code.indexOf('var __TEMPORAL__'));
  const context = createContext({});
  const script = `${before}
    class Own extends Error {}
    function made() { return [new Error('a'), new TypeError('b'), new Own(), new Error('c', { cause: 1 })]; }
    const told = made().map(({ stack }) => stack.split('\\n')[1].trim().split(' ').slice(0, 2).join(' '));
    [told, new Error().stack, made().every((error) => error instanceof Error), made()[3].cause];`;
  expect(runInContext(script, context)).toEqual([Array(4).fill('at made'), '', true, 1]);
});
