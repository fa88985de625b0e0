import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { runCommand } from '../test/support/command.js';

const ODD = 'pipeline:   a # its name\nsteps:\n    - {uses: round.preflight}\n';
const EVEN = 'pipeline: a # its name\nsteps:\n  - { uses: round.preflight }\n';

let folder: string;
const at = (name: string): string => path.join(folder, name);

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-fmt-'));
});

afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true, force: true });
});

async function files(texts: { readonly [name: string]: string }): Promise<void> {
  for (const [name, text] of Object.entries(texts)) await writeFile(at(name), text);
}

function standardInput(text: string): void {
  const stream = Readable.from([Buffer.from(text)]) as unknown as typeof process.stdin;
  vi.spyOn(process, 'stdin', 'get').mockReturnValue(stream);
}

describe('adit fmt', () => {
  it('formats several files in place, and names those that it changed', async () => {
    const names = ['a.yaml', 'b.yaml', 'c.test.yaml', 'd.rehearse.yaml'];
    await files({ 'a.yaml': ODD, 'b.yaml': EVEN, 'c.test.yaml': ODD, 'd.rehearse.yaml': ODD });
    const { exitCode, stdout } = await runCommand('fmt', ...names.map(at));
    expect(exitCode).toBe(0);
    const changed = ['a.yaml', 'c.test.yaml', 'd.rehearse.yaml'];
    expect(stdout).toBe(changed.map((name) => `formatted ${at(name)}\n`).join(''));
    for (const name of names) expect(await readFile(at(name), 'utf8')).toBe(EVEN);
    expect((await readdir(folder)).sort()).toEqual(names);
    expect((await runCommand('fmt', at('a.yaml'))).stdout).toBe('');
  });

  it('changes nothing with --check, and exits 1 when something would be changed', async () => {
    await files({ 'a.yaml': ODD, 'b.yaml': EVEN });
    const { exitCode, stdout } = await runCommand('fmt', '--check', at('a.yaml'), at('b.yaml'));
    expect(exitCode).toBe(1);
    expect(stdout).toBe(`not formatted ${at('a.yaml')}\n`);
    expect(await readFile(at('a.yaml'), 'utf8')).toBe(ODD);
    expect((await runCommand('fmt', '--check', at('b.yaml'))).exitCode).toBe(0);
  });

  it('reads standard input and writes standard output for `-`', async () => {
    standardInput(ODD);
    expect(await runCommand('fmt', '-')).toEqual({ exitCode: 0, stdout: EVEN, stderr: '' });
    standardInput(ODD);
    expect((await runCommand('fmt', '--check', '-')).exitCode).toBe(1);
  });

  it('keeps the rights of a file, and writes through a link to it', async () => {
    await mkdir(at('real'));
    await writeFile(at('real/a.yaml'), ODD);
    await chmod(at('real/a.yaml'), 0o640);
    await symlink(at('real/a.yaml'), at('link.yaml'));
    expect((await runCommand('fmt', at('link.yaml'))).exitCode).toBe(0);
    expect((await lstat(at('link.yaml'))).isSymbolicLink()).toBe(true);
    expect(await readFile(at('real/a.yaml'), 'utf8')).toBe(EVEN);
    expect((await stat(at('real/a.yaml'))).mode & 0o777).toBe(0o640);
    expect(await readdir(at('real'))).toEqual(['a.yaml']);
  });

  it('tells the mistakes of what is no YAML, leaves it, and formats the others', async () => {
    const broken = 'pipeline: a\nsteps: [\n';
    await files({ 'a.yaml': broken, 'b.yaml': ODD });
    const { exitCode, stderr } = await runCommand('fmt', at('a.yaml'), at('b.yaml'));
    expect(exitCode).toBe(2);
    expect(stderr).toContain(`${at('a.yaml')}:`);
    expect(stderr).toContain('[YAML_SYNTAX]');
    expect(await readFile(at('a.yaml'), 'utf8')).toBe(broken);
    expect(await readFile(at('b.yaml'), 'utf8')).toBe(EVEN);
  });

  it('changes nothing when one of the files cannot be read', async () => {
    await files({ 'a.yaml': ODD });
    const { exitCode, stderr } = await runCommand('fmt', at('a.yaml'), at('none.yaml'));
    expect(exitCode).toBe(2);
    expect(stderr).toContain('there is no such file');
    expect(await readFile(at('a.yaml'), 'utf8')).toBe(ODD);
  });

  it('formats a file whose pipeline has mistakes', async () => {
    await files({ 'a.yaml': 'pipeline:  a\nstep: []\n' });
    expect((await runCommand('fmt', at('a.yaml'))).exitCode).toBe(0);
    expect(await readFile(at('a.yaml'), 'utf8')).toBe('pipeline: a\nstep: []\n');
  });

  it('gives all of it as JSON', async () => {
    await files({ 'a.yaml': ODD, 'b.yaml': 'a: [' });
    const { stdout } = await runCommand('fmt', '--check', '--json', at('a.yaml'), at('b.yaml'));
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      files: [
        { file: at('a.yaml'), changed: true, diagnostics: [], refused: null },
        { file: at('b.yaml'), changed: false, diagnostics: [{ code: 'YAML_SYNTAX' }] },
      ],
    });
  });

  it.each([
    ['what is no UTF-8', Buffer.of(0x61, 0x3a, 0x20, 0xff, 0xfe, 0x0a), '[FILE_NOT_TEXT]'],
    ['what has a NUL in it', Buffer.from('a: b\0\n'), '['],
    ['an empty file', Buffer.alloc(0), '[FILE_EMPTY]'],
    ['more than 1 MiB', Buffer.alloc(1024 * 1024 + 1, '#'), '[FILE_TOO_LARGE]'],
    ['a tab for blanks', Buffer.from('a:\n\t- b\n'), '[YAML_'],
    ['a key twice', Buffer.from('a: 1\na: 2\n'), '[YAML_DUPLICATE_KEY]'],
    ['two documents', Buffer.from('a: 1\n---\nb: 1\n'), '[YAML_'],
  ])('refuses %s with the reason, and leaves it as it is', async (_name, content, told) => {
    await writeFile(at('a.yaml'), content);
    const { exitCode, stderr } = await runCommand('fmt', at('a.yaml'));
    expect(exitCode).toBe(2);
    expect(stderr).toContain(told);
    expect((await readFile(at('a.yaml'))).equals(content)).toBe(true);
    expect((await runCommand('fmt', '--check', at('a.yaml'))).exitCode).toBe(2);
  });

  it('refuses a folder, and links that go round in a circle', async () => {
    await symlink(at('b.yaml'), at('a.yaml'));
    await symlink(at('a.yaml'), at('b.yaml'));
    const circle = await runCommand('fmt', at('a.yaml'));
    expect(circle).toMatchObject({ exitCode: 2 });
    expect(circle.stderr).toContain('its links go round in a circle');
    const whole = await runCommand('fmt', folder);
    expect(whole).toMatchObject({ exitCode: 2 });
    expect(whole.stderr).toContain('it is a folder');
  });

  it('leaves a file that somebody else changed after it was read', async () => {
    await files({ 'a.yaml': ODD });
    const theirs = `${ODD}# theirs\n`;
    // Standard input is read after the file, and before anything is written.
    const input = Readable.from(
      (async function* () {
        await writeFile(at('a.yaml'), theirs);
        yield Buffer.from(EVEN);
      })(),
    ) as unknown as typeof process.stdin;
    vi.spyOn(process, 'stdin', 'get').mockReturnValue(input);
    const { exitCode, stderr } = await runCommand('fmt', at('a.yaml'), '-');
    expect(exitCode).toBe(1);
    expect(stderr).toContain('was changed while it was formatted');
    expect(await readFile(at('a.yaml'), 'utf8')).toBe(theirs);
    expect(await readdir(folder)).toEqual(['a.yaml']);
  });

  it('leaves a file that cannot be formatted without another meaning, and says so', async () => {
    const text = 'a: [\n# alone in an empty list\n]\n';
    await files({ 'a.yaml': text });
    const { exitCode, stderr, stdout } = await runCommand('fmt', at('a.yaml'));
    expect(stdout).toBe('');
    expect(stderr).toMatch(/a\.yaml is left as it is: .+\./);
    expect(exitCode).toBe(2);
    expect(await readFile(at('a.yaml'), 'utf8')).toBe(text);
  });
});
