import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { checkPatchSurface, isBlank, matchesGlob, pathsOfPatch } from './patch-surface.js';

const run = promisify(execFile);

const vectors = z
  .object({
    glob: z.array(z.object({ path: z.string(), pattern: z.string(), match: z.boolean() })),
    path_extraction: z.array(z.object({ patch: z.string(), paths: z.array(z.string()) })),
  })
  .parse(
    JSON.parse(
      await readFile('test/fixtures/coordinator/generated-patch-surface-vectors.json', 'utf8'),
    ),
  );

/** Evaluates a Python expression of `v` for each value, in one interpreter. */
async function python(expression: string, values: readonly unknown[]): Promise<unknown> {
  const program = `import fnmatch, json, sys\nprint(json.dumps([${expression} for v in json.loads(sys.argv[1])]))`;
  const { stdout } = await run('python3', ['-I', '-c', program, JSON.stringify(values)]);
  return JSON.parse(stdout);
}

describe('glob patterns of the surface', () => {
  it.each(vectors.glob)('$pattern and $path: $match', ({ path, pattern, match }) => {
    expect(matchesGlob(path, pattern)).toBe(match);
  });

  it("agree with Python's fnmatch on generated patterns", async () => {
    const text = fc
      .array(fc.constantFrom(...Array.from('ab-]z[!*?./\\^\n😀')), { maxLength: 7 })
      .map((all) => all.join(''));
    const pairs = fc.sample(fc.tuple(text, text), { numRuns: 3_000, seed: 94 });
    const expected = await python('fnmatch.fnmatchcase(v[0], v[1])', pairs);
    expect(pairs.map(([path, pattern]) => matchesGlob(path, pattern))).toEqual(expected);
  });

  it('end quickly on a pattern of many stars', () => {
    expect(matchesGlob('a'.repeat(2_000), `${'*'.repeat(500)}b`)).toBe(false);
  });
});

describe('paths of a patch', () => {
  it.each(vectors.path_extraction)('are those of the vectors', ({ patch, paths }) => {
    expect(pathsOfPatch(patch)).toEqual(paths);
  });

  it("come from lines as Python's splitlines and rstrip make them", async () => {
    const ends = [
      '\n',
      '\r',
      '\r\n',
      '\v',
      '\f',
      '\x1c',
      '\x1d',
      '\x1e',
      '\x1f',
      '\x85',
      '\u2028',
      '\u2029',
    ];
    const part = fc.constantFrom(
      '--- x',
      '+++ b/y',
      '--- ',
      '-- ',
      ' ',
      '\u3000',
      '\ufeff',
      ...ends,
    );
    const texts = fc.sample(
      fc.array(part, { maxLength: 9 }).map((all) => all.join('')),
      { numRuns: 2_000, seed: 3 },
    );
    const rule = "(lambda p: p[2:] if p[:2] in ('a/', 'b/') else p)(l[4:].split('\\t')[0].strip())";
    const expected = await python(
      `list(dict.fromkeys(p for l in map(str.rstrip, v.splitlines()) if l.startswith(('--- ', '+++ ')) for p in [${rule}] if p))`,
      texts,
    );
    expect(texts.map(pathsOfPatch)).toEqual(expected);
    expect(texts.map(isBlank)).toEqual(await python("v.strip() == ''", texts));
  });

  it('lose a leading a/ or b/ twice in the header and once in the file lines', () => {
    const patch = 'diff --git a/a/train.py b/a/train.py\n--- a/a/train.py\n+++ b/a/train.py\n';
    expect(pathsOfPatch(patch)).toEqual(['train.py', 'a/train.py']);
  });

  it('end at a tab, and /dev/null is none', () => {
    expect(pathsOfPatch('--- /dev/null\n+++ b/x y.txt\t2026-01-01\n')).toEqual(['x y.txt']);
  });

  it('are found quickly in a long line of blanks', () => {
    expect(pathsOfPatch(`--- ${' '.repeat(200_000)}x`)).toEqual(['x']);
  });
});

describe('the checks before cloning', () => {
  const rules = { allowedPatchPaths: ['train.py', 'lib/*'], maxPatchBytes: 200 };
  const patchOf = (path: string): string =>
    `diff --git a/${path} b/${path}\n--- a/${path}\n+++ b/${path}\n`;

  it('let a patch inside the surface pass, and a blank one', () => {
    expect(checkPatchSurface(patchOf('train.py') + patchOf('lib/a/b.py'), rules)).toBeUndefined();
    expect(checkPatchSurface(' \n', { ...rules, allowedPatchPaths: [] })).toBeUndefined();
  });

  it('count the size in UTF-8 bytes, and only more than the limit is too large', () => {
    const filled = (bytes: number): string =>
      `${patchOf('train.py')}${'+'.repeat(bytes)}`.slice(0, bytes);
    expect(checkPatchSurface(filled(200), rules)).toBeUndefined();
    expect(checkPatchSurface(filled(201), rules)).toBe('patch_too_large');
    expect(checkPatchSurface(`${filled(199)}é`, rules)).toBe('patch_too_large');
    expect(checkPatchSurface(' '.repeat(201), rules)).toBe('patch_too_large');
  });

  it('refuse what has no path, bytecode anywhere, and paths outside, in this order', () => {
    expect(checkPatchSurface('hello\n', rules)).toBe('unparseable_patch_surface');
    expect(checkPatchSurface(patchOf('lib/x.PYC'), rules)).toBe('generated_python_cache_paths');
    expect(checkPatchSurface(patchOf('other/x.pyo'), rules)).toBe('generated_python_cache_paths');
    expect(checkPatchSurface(patchOf('benchmark.py'), rules)).toBe('disallowed_patch_paths');
    expect(checkPatchSurface(patchOf('train.py'), { ...rules, allowedPatchPaths: [] })).toBe(
      'disallowed_patch_paths',
    );
  });

  it('read a deleted comment of two dashes as a path', () => {
    expect(checkPatchSurface(`${patchOf('train.py')}@@ -1 +0,0 @@\n--- old comment\n`, rules)).toBe(
      'disallowed_patch_paths',
    );
  });
});
