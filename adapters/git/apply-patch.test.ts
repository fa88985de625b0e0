import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { deflateSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { applyPatch, type BaseFile } from './apply-patch.js';

const searchPath = process.env['PATH'] ?? '';

let repository: string;
beforeEach(() => {
  repository = mkdtempSync(path.join(tmpdir(), 'adit-apply-'));
  git('init', '--quiet');
  git('config', 'core.autocrlf', 'false');
});
afterEach(() => rmSync(repository, { recursive: true, force: true }));

function git(...args: string[]): Buffer {
  const who = ['-c', 'user.name=t', '-c', 'user.email=t@example.org'];
  return execFileSync('git', [...who, ...args], { cwd: repository, stdio: 'pipe' });
}

type Files = { readonly [file: string]: string | Buffer | null };

/** Writes, or removes, files; a name that ends with `*` is executable. Returns the tree, by path. */
function commit(files: Files): Map<string, { mode: string; object: string }> {
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(repository, name.replace(/\*$/, ''));
    mkdirSync(path.dirname(file), { recursive: true });
    if (content === null) rmSync(file);
    else {
      writeFileSync(file, content);
      chmodSync(file, name.endsWith('*') ? 0o755 : 0o644);
    }
  }
  git('add', '--all');
  git('commit', '--quiet', '--allow-empty', '--message', 'x');
  const listed = git('ls-tree', '-r', '-z', 'HEAD').toString('utf8').split('\0');
  return new Map(
    listed
      .filter((line) => line !== '')
      .map((line) => {
        const [, mode = '', object = '', name = ''] = /^(\d+) blob (\w+)\t(.*)$/s.exec(line) ?? [];
        return [name, { mode, object }];
      }),
  );
}

const BYTES = Buffer.from(Array.from({ length: 300 }, (_, at) => at % 256));

describe('a patch as git makes it gives what was committed', () => {
  it.each<[string, Files, Files]>([
    ['lines that end with CR LF', { 'a.txt': 'a\r\nb\r\nc\r\n' }, { 'a.txt': 'a\r\nB\r\nc\r\n' }],
    ['line ends that change', { 'a.txt': 'a\nb\n' }, { 'a.txt': 'a\r\nb\r\n' }],
    ['a file without a last line feed', { a: 'a\nb' }, { a: 'a\nc' }],
    ['a new file and an empty one', { a: 'a\n' }, { b: 'b\n', 'c/d/e': '' }],
    ['a removed file', { a: 'a\n', b: 'b\n' }, { a: null }],
    ['another mode', { 'a.sh': 'a\n' }, { 'a.sh*': 'a\n' }],
    ['bytes that are no text', { a: BYTES }, { a: Buffer.concat([BYTES, BYTES]) }],
    ['a file that moves', { 'a/one': 'x\n'.repeat(50) }, { 'a/one': null, two: 'x\n'.repeat(50) }],
    ['names beyond ASCII', { 'ä b"c': 'a\n' }, { 'ä b"c': 'b\n' }],
    [
      'what the attributes would change',
      { '.gitattributes': '* text eol=crlf\n', a: 'a\n' },
      { a: 'b\n' },
    ],
    ['nothing', { a: 'a\n' }, {}],
  ])('%s', async (_what, before, after) => {
    const was = commit(before);
    const is = commit(after);
    const changed = [...new Set([...was.keys(), ...is.keys()])].filter(
      (name) =>
        was.get(name)?.object !== is.get(name)?.object ||
        was.get(name)?.mode !== is.get(name)?.mode,
    );
    const base = changed.flatMap((name): BaseFile[] => {
      const found = was.get(name);
      if (found === undefined) return [];
      return [{ path: name, mode: found.mode, bytes: git('cat-file', 'blob', found.object) }];
    });
    // As a workspace makes it, and as a person would: with renames.
    for (const renames of ['--no-renames', '--find-renames']) {
      const patch = git('diff', '--binary', '--full-index', renames, 'HEAD~1', 'HEAD');
      const applied = await applyPatch(base, patch, searchPath);
      if ('reason' in applied) throw new Error(applied.reason);
      const meant = (all: typeof was) =>
        new Map([...all].filter(([name]) => changed.includes(name)));
      expect(applied.before).toEqual(meant(was));
      expect(applied.after).toEqual(meant(is));
    }
  });
});

describe('a patch is not applied', () => {
  const base: BaseFile[] = [{ path: 'a', mode: '100644', bytes: Buffer.from('a\n') }];
  const change = (from: string, to: string): string =>
    `diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-${from}\n+${to}\n`;
  const made = (file: string): string =>
    `diff --git a/${file} b/${file}\nnew file mode 100644\n--- /dev/null\n+++ b/${file}\n@@ -0,0 +1 @@\n+x\n`;

  it.each([
    ['to other content', change('b', 'c')],
    ['to a file whose content was not kept', change('a', 'b').replaceAll('/a', '/other')],
    ['out of the tree', made('../x')],
    ['into the git directory', made('.git/hooks/post-checkout')],
    ['when it is none', 'hello\n'],
  ])('%s', async (_what, patch) => {
    const applied = await applyPatch(base, Buffer.from(patch), searchPath);
    expect(applied).toEqual({ reason: expect.stringMatching(/./) });
  });

  it('that unpacks to more than any memory', async () => {
    const bytes = deflateSync(Buffer.alloc(64 * 1024 * 1024));
    const bomb = `diff --git a/z b/z\nnew file mode 100644\nindex ${'0'.repeat(40)}..${'1'.repeat(40)}\nGIT binary patch\nliteral 3000000000\n${base85Lines(bytes)}\n`;
    const applied = await applyPatch(base, Buffer.from(bomb), searchPath);
    expect(applied).toEqual({
      reason: expect.stringMatching(/over limit|[Oo]ut of memory|malloc/),
    });
  });

  it.each(['/etc/passwd', '../a', '.git/config', 'a\nb', ''])('to a file %j', async (name) => {
    const found = await applyPatch([{ ...base[0]!, path: name }], Buffer.alloc(0), searchPath);
    expect(found).toEqual({ reason: expect.stringContaining('no plain file') });
  });

  it('to a link', async () => {
    const found = await applyPatch([{ ...base[0]!, mode: '120000' }], Buffer.alloc(0), searchPath);
    expect(found).toEqual({ reason: expect.stringContaining('no plain file') });
  });
});

const DIGITS =
  '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~';

/** Bytes as git writes them in a binary patch. */
function base85Lines(bytes: Buffer): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 52) {
    const part = bytes.subarray(at, at + 52);
    const { length } = part;
    text += String.fromCharCode(length <= 26 ? 64 + length : 70 + length);
    for (let from = 0; from < length; from += 4) {
      const word = Buffer.alloc(4);
      part.copy(word, 0, from);
      let value = word.readUInt32BE();
      let digits = '';
      for (let digit = 0; digit < 5; digit += 1) {
        digits = (DIGITS[value % 85] ?? '') + digits;
        value = Math.floor(value / 85);
      }
      text += digits;
    }
    text += '\n';
  }
  return text;
}
