/** docs/tutorial.md, followed to the letter in an empty folder: its commands, its edits, and what it says is printed. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../support/command.js';

const document = path.join(import.meta.dirname, '../../docs/tutorial.md');

let folder: string;
const before = process.cwd();

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-tutorial-'));
  process.chdir(folder);
});

afterAll(async () => {
  process.chdir(before);
  await rm(folder, { recursive: true, force: true });
});

interface Block {
  readonly kind: string;
  readonly text: string;
}

async function blocks(): Promise<Block[]> {
  const text = await readFile(document, 'utf8');
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
async function edit(text: string): Promise<void> {
  const side = (mark: string): string =>
    text
      .split('\n')
      .filter((line) => line.startsWith(mark))
      .map((line) => `${line.slice(2)}\n`)
      .join('');
  const [old, fresh] = [side('-'), side('+')];
  const found: string[] = [];
  for (const name of ['round.yaml', 'round.test.yaml']) {
    const content = await readFile(name, 'utf8');
    if (!content.includes(`\n${old}`)) continue;
    found.push(name);
    await writeFile(
      name,
      content.replace(`\n${old}`, () => `\n${fresh}`),
    );
  }
  expect(found, old).toHaveLength(1);
}

describe('the tutorial', () => {
  it('does what it says, step by step', async () => {
    let printed = '';
    let count = 0;
    for (const { kind, text } of await blocks()) {
      if (kind === 'diff') await edit(text);
      if (kind === 'text')
        for (const line of text.trim().split('\n')) expect(printed).toContain(line.trim());
      if (kind !== 'sh') continue;
      printed = '';
      for (const line of text.trim().split('\n')) {
        const [, command = '', code = '0'] = /^adit (.*?)(?: # exits with (\d))?$/.exec(line) ?? [];
        const { exitCode, stdout, stderr } = await runCommand(...wordsOf(command));
        printed += stdout + stderr;
        expect(exitCode, `${line}\n${stdout}${stderr}`).toBe(Number(code));
        count += 1;
      }
    }
    expect(count).toBeGreaterThan(9);
  });
});
