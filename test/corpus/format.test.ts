/** `adit fmt` over the corpus: a file means the same afterwards, keeps its comments, and is settled. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { STEP_TYPES } from '../../activities/registry.js';
import { formatText } from '../../cli/format-text.js';
import { filesBelow } from '../../cli/pipeline-files.js';
import { compilePipeline } from '../../compiler/compile.js';
import { mutatedTexts } from './mutations.js';

const SEED = Number(process.env['FUZZ_SEED'] ?? 20_260_101);
const RUNS = Number(process.env['FUZZ_RUNS'] ?? 150);

const root = import.meta.dirname;
const files = [
  ...readdirSync(root, { recursive: true, encoding: 'utf8' }).map((file) => join(root, file)),
  ...readdirSync(join(root, '../../pipelines')).map((file) => join(root, '../../pipelines', file)),
].filter((file) => file.endsWith('.yaml'));

/** What is checked and what a run is started with, but for places in the file. */
function meaningOf(text: string, file: string): unknown {
  const { pipeline, diagnostics } = compilePipeline(text, file.replace(`${root}/`, ''), STEP_TYPES, filesBelow(root));
  // Mistakes have places, which move; that there are the same kinds of them does not.
  return { pipeline: withoutPlaces(pipeline), mistakes: diagnostics.map(({ code }) => code).sort() };
}

function withoutPlaces(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, inner: unknown) => (/^(range|nameRange|sourceSha256|source|start|end)$/.test(key) ? undefined : inner)) ?? 'null',
  );
}

/** Formatted, or null for what is refused, which must be told. */
async function formatted(text: string): Promise<string | null> {
  const result = await formatText(Buffer.from(text), 'a.yaml');
  if (result.kind === 'formatted') {
    expect(result.changed).toBe(result.text !== text);
    return result.text;
  }
  if (result.kind === 'invalid') expect(result.diagnostics).not.toEqual([]);
  else expect(result.reason).not.toBe('');
  return null;
}

describe('a formatted file', () => {
  it.each(files.map((file) => [file.replace(`${join(root, '../..')}/`, ''), file]))('%s means the same', async (_name, file) => {
    const content = readFileSync(file);
    const result = await formatText(content, file);
    if (result.kind === 'invalid') {
      expect(file).toMatch(/\/(?:invalid|warns)-/);
      return;
    }
    if (result.kind === 'refused') throw new Error(result.reason);
    const before = content.toString();
    expect(meaningOf(result.text, file)).toEqual(meaningOf(before, file));
    expect(await formatted(result.text)).toBe(result.text);
    // Crude, and blind to what the formatter does: the words of comments on lines of their own.
    const comments = (text: string): string[] => [...text.matchAll(/^\s*(#.*)$/gm)].map(([, comment = '']) => comment.trim());
    expect(comments(result.text)).toEqual(comments(before));
  });

  it('means the same whatever the file was, and is settled', { timeout: 3_600_000 }, async () => {
    let done = 0;
    const texts = files.map((file) => readFileSync(file, 'utf8')).filter((text) => text.length < 8_000);
    const withComments = mutatedTexts(texts).map((text) => text.replaceAll(/ +$/gm, ' # said'));
    await fc.assert(
      fc.asyncProperty(fc.oneof(mutatedTexts(texts), withComments), async (mutated) => {
        // Half a character is none in a file.
        const text = Buffer.from(mutated).toString();
        const after = await formatted(text);
        if (after === null) return;
        done += 1;
        expect(meaningOf(after, 'mutated.yaml')).toEqual(meaningOf(text, 'mutated.yaml'));
        expect(await formatted(after)).toBe(after);
      }),
      { seed: SEED, numRuns: RUNS },
    );
    expect(done).toBeGreaterThan(RUNS / 10);
  });
});

describe('the style', () => {
  it('is that of the shipped pipelines', async () => {
    for (const file of files.filter((one) => one.includes('/pipelines/'))) {
      const text = readFileSync(file, 'utf8');
      expect(await formatted(text)).toBe(text);
    }
  });

  it('is one for spaces, quotes, indentation, blank lines and line ends', async () => {
    const odd = '\ufeffpipeline:   "a"   # its name\r\n\r\n\r\n# what it does\r\nsteps:\r\n    -   {id:   one,uses: "round.preflight" }   # first\r\n    -   wait:  1s\r\n';
    expect(await formatted(odd)).toBe("pipeline: 'a' # its name\n\n# what it does\nsteps:\n  - { id: one, uses: 'round.preflight' } # first\n  - wait: 1s\n");
  });

  it('leaves the lines of long texts and commands alone', async () => {
    const long = 'word '.repeat(60).trim();
    const text = `pipeline: a\nsummary: ${long}\nsteps:\n  - uses: process.run\n    with:\n      command: |\n        if  true; then\n            echo   ${long}\n        fi\n`;
    expect(await formatted(text)).toBe(text);
  });
});

describe('what is no YAML', () => {
  it.each([
    ['a second document', 'a: 1\n---\nb: 2\n', 'YAML_DOCUMENTS'],
    ['a key twice', 'a: 1\na: 2\n', 'YAML_DUPLICATE_KEY'],
    ['a syntax error', 'a: [1\n', 'YAML_SYNTAX'],
    ['nothing', '\n', 'FILE_EMPTY'],
  ])('is refused: %s', async (_name, text, code) => {
    const result = await formatText(Buffer.from(text), 'a.yaml');
    expect(result.kind === 'invalid' && result.diagnostics.map((one) => one.code)).toContain(code);
  });

  it('is refused when it is binary', async () => {
    expect((await formatText(Uint8Array.from([0, 1, 2]), 'a.yaml')).kind).toBe('invalid');
  });
});
