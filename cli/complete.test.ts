import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { STEP_TYPES } from '../activities/registry.js';
import { createEvidence } from '../adapters/evidence/evidence.js';
import { runCommand } from '../test/support/command.js';
import { COMMANDS } from './command-list.js';
import { COMPLETION_SCRIPTS, SHELLS } from './completion-scripts.js';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-complete-'));
  vi.stubEnv('ADIT_STATE_DIR', folder);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

/** The candidates, and whether files stand there too. */
async function candidates(...words: string[]): Promise<{ words: string[]; files: boolean }> {
  const { exitCode, stdout, stderr } = await runCommand('complete', '--', ...words);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  const lines = stdout.trimEnd().split('\n');
  const directive = lines.pop();
  expect([':0', ':4']).toContain(directive);
  return { words: lines.map((line) => line.split('\t')[0] ?? ''), files: directive === ':0' };
}

describe('what a shell offers', () => {
  it('is every command, with what it does', async () => {
    const { words, files } = await candidates('');
    expect(words).toEqual([...COMMANDS.map(({ name }) => name), 'help']);
    expect(files).toBe(false);
    expect((await candidates('ste')).words).toEqual(['steps']);
    expect((await candidates('help', 'gra')).words).toEqual(['graph']);
    expect((await runCommand('complete', '--', 'steps')).stdout).toContain('steps\tThe reference');
  });

  it('is the options of the command, `--help` and `--json` among them', async () => {
    expect((await candidates('fmt', '--')).words).toEqual(['--check', '--json', '--help']);
    expect((await candidates('fmt', '--check', '--j')).words).toEqual(['--json']);
    // What `devnet` takes it says itself.
    for (const { name } of COMMANDS.filter((command) => command.name !== 'devnet'))
      expect((await candidates(name, '--he')).words, name).toEqual(['--help']);
  });

  it('is the values that an option can have, also behind a `=`', async () => {
    const tasks = ['tiny-ternary-frontier', 'tiny-ternary-frontier-centerless'];
    expect((await candidates('demo', '--task', '')).words).toEqual(tasks);
    expect((await candidates('demo', '--task', '=', 'tiny')).words).toEqual(tasks);
    expect((await candidates('demo', '--task', '=')).words).toEqual(tasks);
  });

  it('is step types, runs of this machine, files, as the argument asks for', async () => {
    expect((await candidates('steps', '')).words).toEqual(STEP_TYPES.map(({ name }) => name));
    expect(await candidates('check', '')).toEqual({ words: [], files: true });
    expect(await candidates('check', 'a.yaml', 'b')).toEqual({ words: [], files: true });
    expect(await candidates('run', '--inputs-file', '')).toEqual({ words: [], files: true });
    const evidence = createEvidence(folder);
    for (const id of ['a-20261121-101500-aaaa', 'a-20261122-101500-bbbb'])
      await evidence.writePlan(id, {});
    const runs = ['a-20261122-101500-bbbb', 'a-20261121-101500-aaaa'];
    expect(await candidates('show', '')).toEqual({ words: runs, files: false });
    expect(await candidates('show', '--address', 'x:1', '')).toEqual({ words: runs, files: false });
    expect(await candidates('graph', 'a-')).toEqual({ words: runs, files: true });
    expect((await candidates('show', runs[0] ?? '', '')).words).toEqual([]);
  });

  it('is nothing, and no error, where there is nothing to offer', async () => {
    expect(await candidates('none', '')).toEqual({ words: [], files: false });
    await writeFile(path.join(folder, 'runs'), 'no folder');
    expect((await candidates('show', '')).words).toEqual([]);
    expect((await candidates('doctor', '--help', '')).words).toEqual([]);
  });
});

describe('adit completion', () => {
  it.each(SHELLS)('prints the script for %s', async (shell) => {
    const { exitCode, stdout } = await runCommand('completion', shell);
    expect(exitCode).toBe(0);
    expect(stdout).toBe(COMPLETION_SCRIPTS[shell]);
    expect(JSON.parse((await runCommand('completion', shell, '--json')).stdout)).toEqual({
      shell,
      script: stdout,
    });
  });

  it('refuses another shell', async () => {
    const { exitCode, stderr } = await runCommand('completion', 'tcsh');
    expect(exitCode).toBe(2);
    expect(stderr).toContain('bash, zsh, fish');
  });
});

/** A shell with an `adit` that prints what it was asked, and then answers. */
async function shell(program: string, script: string): Promise<string> {
  const bin = path.join(folder, 'bin');
  await mkdir(bin);
  const asked = path.join(folder, 'asked');
  const answer =
    'case "$*" in *check*) printf ":0\\n";; *) printf "steps\\tAll: of them\\nshow\\tOne\\n:4\\n";; esac';
  await writeFile(path.join(bin, 'adit'), `#!/bin/sh\nprintf '%s|' "$@" >> ${asked}\n${answer}\n`);
  await chmod(path.join(bin, 'adit'), 0o755);
  await writeFile(path.join(folder, 'a file.yaml'), '');
  const result = spawnSync(program, ['-c', script], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}` },
  });
  expect(result.stderr).toBe('');
  return result.stdout;
}

describe('in bash', () => {
  const ask = (words: string, at: number): string =>
    `${COMPLETION_SCRIPTS.bash}\n${COMPLETION_SCRIPTS.bash}
COMP_WORDS=(${words}); COMP_CWORD=${at}; _adit; printf '%s,' "\${COMPREPLY[@]}"; cat asked`;

  it('candidates are offered, and the words are handed over as they are', async () => {
    const words = `adit show '$(touch evaluated)' 's'`;
    expect(await shell('bash', ask(words, 3))).toBe(
      'steps,show,complete|--|show|$(touch evaluated)|s|',
    );
    expect(spawnSync('ls', [folder], { encoding: 'utf8' }).stdout).not.toContain('evaluated');
  });

  it('files are offered where they can stand', async () => {
    expect(await shell('bash', ask("adit check 'a'", 2))).toMatch(/a file\.yaml,/);
  });
});
