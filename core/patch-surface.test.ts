import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constantFrom, sample, string, tuple } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fnmatch } from './fnmatch.js';
import {
  checkPatchSurface,
  readPatchPaths,
  splitPythonLines,
  utf8SizeBytes,
} from './patch-surface.js';

interface Vectors {
  glob: { path: string; pattern: string; match: boolean }[];
  path_extraction: { patch: string; paths: string[] }[];
}
const vectors = JSON.parse(
  readFileSync(
    new URL('../test/fixtures/coordinator/generated-patch-surface-vectors.json', import.meta.url),
    'utf8',
  ),
) as Vectors;

/** Runs Python over a list and returns what it printed as JSON: the language is its own oracle. */
function python(program: string, input: unknown): unknown {
  return JSON.parse(
    execFileSync('python3', ['-c', `import json, sys\nrows = json.load(sys.stdin)\n${program}`], {
      input: JSON.stringify(input),
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
    }),
  );
}

const surface = { allowedPatchPaths: ['packs/*/train.py'], maxPatchBytes: 1_000 };
const header = 'diff --git a/packs/q/train.py b/packs/q/train.py\n';

describe('fnmatch', () => {
  it.each(vectors.glob)('answers $match for $path against $pattern', ({ path, pattern, match }) => {
    expect(fnmatch(path, pattern)).toBe(match);
  });

  it('agrees with Python on generated names and patterns', () => {
    const text = (alphabet: string) =>
      string({ unit: constantFrom(...Array.from(alphabet)), maxLength: 9 });
    const rows = sample(tuple(text('ab-z]!^/é😀\\'), text('ab-z[]]!^*?/é😀\\[[-')), {
      numRuns: 20_000,
      seed: 94,
    });
    const expected = python(
      'import fnmatch\nprint(json.dumps([fnmatch.fnmatchcase(n, p) for n, p in rows]))',
      rows,
    ) as boolean[];
    const differing = rows.filter(([name, pattern], i) => fnmatch(name, pattern) !== expected[i]);
    expect(differing).toEqual([]);
    expect(expected.filter(Boolean).length).toBeGreaterThan(300);
  });

  it('does not backtrack exponentially', () => {
    expect(fnmatch('a'.repeat(4_000), `${'*a'.repeat(50)}b`)).toBe(false);
  });
});

describe('readPatchPaths', () => {
  it.each(vectors.path_extraction)('reads the paths of the vector', ({ patch, paths }) => {
    expect(readPatchPaths(patch)).toEqual(paths);
  });

  it('reads both train.py and a/train.py from a file in a top-level folder named a', () => {
    const patch =
      'diff --git a/a/train.py b/a/train.py\n--- a/a/train.py\n+++ b/a/train.py\n@@ -1 +1 @@\n';
    expect(readPatchPaths(patch)).toEqual(['train.py', 'a/train.py']);
  });

  it('reads a path behind a line separator in content, and none from a bare dashes line', () => {
    expect(readPatchPaths('+x\u2028--- fake\n')).toEqual(['fake']);
    expect(readPatchPaths('--- \n')).toEqual([]);
  });

  it('cuts lines as Python does', () => {
    const texts = sample(
      string({
        unit: constantFrom(...Array.from('ab\n\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029 \t')),
        maxLength: 12,
      }),
      { numRuns: 5_000, seed: 94 },
    );
    expect(texts.map(splitPythonLines)).toEqual(
      python('print(json.dumps([t.splitlines() for t in rows]))', texts),
    );
  });
});

describe('checkPatchSurface', () => {
  const reasonOf = (patch: string, limits = surface): string => {
    const check = checkPatchSurface(patch, limits);
    return check.ok ? 'ok' : check.reason;
  };

  it('accepts a patch whose paths all match', () => {
    expect(checkPatchSurface(header, surface)).toEqual({ ok: true, paths: ['packs/q/train.py'] });
  });

  it('accepts a blank patch with no paths', () => {
    expect(checkPatchSurface(' \n', surface)).toEqual({ ok: true, paths: [] });
  });

  it('counts UTF-8 bytes, and refuses only what is greater than the limit', () => {
    const patch = `${header}+é😀`;
    const size = Buffer.byteLength(patch);
    expect(utf8SizeBytes(patch)).toBe(size);
    expect(reasonOf(patch, { ...surface, maxPatchBytes: size })).toBe('ok');
    expect(reasonOf(patch, { ...surface, maxPatchBytes: size - 1 })).toBe('patch_too_large');
  });

  it('names the first reason in the order of the validator', () => {
    expect(reasonOf('no path here')).toBe('unparseable_patch_surface');
    expect(reasonOf('+++ b/other.txt\n+++ b/x/__pycache__/train.PYC\n')).toBe(
      'generated_python_cache_paths',
    );
    expect(reasonOf(`${header}--- old lua comment\n`)).toBe('disallowed_patch_paths');
    expect(reasonOf(header, { ...surface, allowedPatchPaths: [] })).toBe('disallowed_patch_paths');
  });

  it('lists the paths to blame', () => {
    expect(checkPatchSurface(`${header}+++ b/README.md\n`, surface)).toEqual({
      ok: false,
      reason: 'disallowed_patch_paths',
      paths: ['README.md'],
    });
  });
});
