import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import type * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test, vi } from 'vitest';
import { createCheckoutContent } from './checkout-content.js';
import type { RunGit } from './git-command.js';

vi.mock('node:fs/promises', async (original) => ({
  ...(await original<typeof fs>()),
  // As when the worker is killed between the write and the rename.
  rename: () => Promise.reject(new Error('killed')),
}));

test('a write that is cut short leaves no new file in the checkout, where a patch would miss it', async () => {
  const gitDir = mkdtempSync(path.join(tmpdir(), 'adit-content-'));
  const checkout = path.join(gitDir, 'checkout');
  mkdirSync(checkout);
  const replies: { readonly [command: string]: string } = {
    'ls-tree': `100644 blob ${'a'.repeat(40)}\ttrain.py\0`,
    'cat-file': 'rate = 1\n',
  };
  const runGit: RunGit = async ([command = '']) => ({
    exitCode: 0,
    stdout: Buffer.from(replies[command] ?? ''),
    stderr: '',
    timedOut: false,
  });
  const content = createCheckoutContent(runGit, { gitDir, checkout, signal: undefined });
  await expect(content.restore('b'.repeat(40), ['train.py'])).rejects.toThrow('killed');
  expect(readdirSync(checkout)).toEqual([]);
  rmSync(gitDir, { recursive: true });
});
