import { expect, it } from 'vitest';
import { ownName } from './own-name.js';

it.each([
  ['a linked program', {}, '/usr/local/bin/adit', 'adit'],
  ['npx', { npm_command: 'exec' }, '/checkout/node_modules/.bin/adit', 'npx adit'],
  ['an npm script', { npm_command: 'run-script' }, '/checkout/cli/adit.js', 'npx adit'],
  ['its file', {}, '/checkout/cli/adit.js', 'npx adit'],
] as const)('names a command that can be typed when started by %s', (_how, env, program, name) => {
  expect(ownName(env, program)).toBe(name);
});
