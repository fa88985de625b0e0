/** docs/tutorial.md, followed to the letter in an empty folder: its commands, its edits, and what it says is printed. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'vitest';
import type { CommandResult } from './command.js';
import { PACKAGE_ROOT } from './local-network.js';

const FILES = ['round.yaml', 'round.test.yaml', 'round.rehearse.yaml'];

interface FollowOptions {
  readonly folder: string;
  /** Runs `adit` with these words there. */
  readonly run: (words: readonly string[]) => Promise<CommandResult>;
  /** Which blocks of commands are run: `sh`; `sh-local`, those that start servers of their own. */
  readonly kinds: readonly ('sh' | 'sh-local')[];
}

/** Does what the page says, step by step; how many commands were run. */
export async function followTutorial({ folder, run, kinds }: FollowOptions): Promise<number> {
  let printed: string | null = null;
  let count = 0;
  for (const { kind, text } of await blocks()) {
    if (kind === 'diff') await edit(text, folder);
    if (kind === 'text' && printed !== null)
      for (const line of text.trim().split('\n')) expect(printed).toContain(line.trim());
    if (!kind.startsWith('sh')) continue;
    printed = null;
    if (!kinds.some((one) => one === kind)) continue;
    printed = '';
    for (const line of text.trim().split('\n')) {
      const [, command = '', code = '0'] = /^adit (.*?)(?: # exits with (\d))?$/.exec(line) ?? [];
      const { exitCode, stdout, stderr } = await run(wordsOf(command));
      printed += stdout + stderr;
      expect(exitCode, `${line}\n${stdout}${stderr}`).toBe(Number(code));
      count += 1;
    }
  }
  return count;
}

interface Block {
  readonly kind: string;
  readonly text: string;
}

async function blocks(): Promise<Block[]> {
  const text = await readFile(path.join(PACKAGE_ROOT, 'docs/tutorial.md'), 'utf8');
  return [...text.matchAll(/^```([\w-]+)\n([\s\S]*?)^```$/gm)].map(([, kind = '', inner = '']) => ({
    kind,
    text: inner,
  }));
}

/** The words of a command line: single quotes hold a word together. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
}

/** Replaces the lines that begin with `-` by those that begin with `+`, in the one file that has them. */
async function edit(text: string, folder: string): Promise<void> {
  const side = (mark: string): string =>
    text
      .split('\n')
      .filter((line) => line.startsWith(mark))
      .map((line) => `${line.slice(2)}\n`)
      .join('');
  const [old, fresh] = [side('-'), side('+')];
  const found: string[] = [];
  for (const name of FILES) {
    const file = path.join(folder, name);
    // The last of them is not written until the page comes to it.
    const content = await readFile(file, 'utf8').catch(() => '');
    if (!content.includes(`\n${old}`)) continue;
    found.push(name);
    await writeFile(
      file,
      content.replace(`\n${old}`, () => `\n${fresh}`),
    );
  }
  expect(found, old).toHaveLength(1);
}
