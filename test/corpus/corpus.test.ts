/**
 * Every file of the corpus is compiled, and all that is printed is compared with the `.txt` beside it: mistakes of the
 * `invalid` files, warnings of the `warns` files, which have no mistake. The `valid` ones have neither, but for inputs
 * that they declare and do not read.
 * `UPDATE_CORPUS=1` writes the expectations anew; read the difference before it is committed.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { filesBelow } from '../../cli/pipeline-files.js';
import { compilePipeline, sourceOf } from '../../compiler/compile.js';
import { DIAGNOSTIC_CODES, printDiagnostic } from '../../compiler/diagnostic.js';
import { STEP_TYPES } from '../../activities/registry.js';

const root = import.meta.dirname;
const topics = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
const files = topics.flatMap(({ name }) =>
  readdirSync(join(root, name))
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => `${name}/${file}`),
);

function print(content: Uint8Array | string, file: string): string {
  const compiled = compilePipeline(content, file, STEP_TYPES, filesBelow(root));
  return compiled.diagnostics
    .filter(({ code }) => !/\/valid-/.test(file) || code !== 'INPUT_UNUSED')
    .map((diagnostic) => `${printDiagnostic(diagnostic, sourceOf(compiled, diagnostic))}\n`)
    .join('\n');
}

describe('the corpus', () => {
  for (const file of files) {
    const isValid = /\/valid-/.test(file);
    it(`${file} ${isValid ? 'has no mistake' : 'prints what its .txt says'}`, () => {
      const printed = print(readFileSync(join(root, file)), file);
      if (isValid) {
        expect(printed).toBe('');
        return;
      }
      const expectation = join(root, file.replace(/\.yaml$/, '.txt'));
      if (process.env['UPDATE_CORPUS'] === '1') writeFileSync(expectation, printed);
      expect(existsSync(expectation), `${expectation} is missing`).toBe(true);
      expect(printed).toBe(readFileSync(expectation, 'utf8'));
      expect(printed).not.toBe('');
      expect(/: error: /.test(printed)).toBe(/\/invalid-/.test(file));
    });
  }

  it('has enough files of both kinds', () => {
    expect(files.filter((file) => /\/invalid-/.test(file)).length).toBeGreaterThanOrEqual(150);
    expect(files.filter((file) => /\/valid-/.test(file)).length).toBeGreaterThanOrEqual(40);
  });

  it('shows every diagnostic code that a file can cause', () => {
    const printed = files
      .filter((file) => !/\/valid-/.test(file))
      .map((file) => readFileSync(join(root, file.replace(/\.yaml$/, '.txt')), 'utf8'))
      .join('\n');
    const elsewhere = ['FILE_TOO_LARGE', 'INPUT_MISSING', 'INPUT_UNKNOWN', 'INPUT_INVALID', 'PLAN_TOO_LARGE'];
    const shown = new Set([...printed.matchAll(/\[([A-Z_]+)\]$/gm)].map(([, code]) => code));
    expect(DIAGNOSTIC_CODES.filter((code) => !shown.has(code) && !elsewhere.includes(code))).toEqual([]);
  });
});

describe('a file that is not worth reading', () => {
  it('is refused by its size when it is 2 MB long', () => {
    const content = `pipeline: long\nsteps: []\n# ${'x'.repeat(2 * 1024 * 1024)}\n`;
    expect(print(content, 'long.yaml')).toBe(
      [
        `long.yaml:1:1: error: the file is ${content.length} bytes; a pipeline is at most 1048576 bytes (1 MiB) [FILE_TOO_LARGE]`,
        '1 |',
        '  | ~',
        '  = large values belong into files that steps read',
        '',
      ].join('\n'),
    );
  });

  it('is refused when it is not UTF-8', () => {
    const printed = print(Buffer.from('pipeline: a\nsteps: []\n# caf\u00e9\n', 'latin1'), 'latin.yaml');
    expect(printed).toContain(
      'latin.yaml:1:1: error: the file is not UTF-8 text: line 3 holds bytes of another encoding [FILE_NOT_TEXT]',
    );
    expect(printed).toContain('save it as UTF-8; it may be Latin-1');
    const cut = Buffer.from('pipeline: \u00e9').subarray(0, -1);
    expect(print(cut, 'cut.yaml')).toContain('line 1 holds bytes of another encoding');
  });

  it.each([
    ['with a mark, low byte first', Buffer.from('\ufeffpipeline: a\n', 'utf16le')],
    ['without a mark, low byte first', Buffer.from('pipeline: a\n', 'utf16le')],
    ['with a mark, high byte first', Buffer.from('\ufeffpipeline: a\n', 'utf16le').swap16()],
    ['without a mark, high byte first', Buffer.from('pipeline: a\n', 'utf16le').swap16()],
  ])('is known for UTF-16, %s', (_name, content) => {
    expect(print(content, 'wide.yaml')).toMatch(/the file is not UTF-8 text \[FILE_NOT_TEXT\][^]*it is UTF-16/);
  });

  it('is refused when it holds the byte NUL, and the line is told', () => {
    const printed = print('pipeline: a\nsteps: []\n# \u0000\n', 'nul.yaml');
    expect(printed).toContain('the file is binary: line 3 holds the byte NUL [FILE_NOT_TEXT]');
  });

  it('is refused when its lines end with a carriage return alone', () => {
    const printed = print('pipeline: a\rsteps: []\r', 'mac.yaml');
    expect(printed).toContain('end with a carriage return alone, so it is all one line [FILE_NOT_TEXT]');
  });

  it.each([
    ['brackets', '['.repeat(100_000)],
    ['indented maps', Array.from({ length: 2_000 }, (_, depth) => `${' '.repeat(depth % 900)}a:`).join('\n')],
    ['an alias bomb', bomb()],
    ['a text of 1 MB', `pipeline: a\nsteps:\n  - uses: process.run\n    with: { command: "${'y'.repeat(900_000)}" }\n    bad: 1\n`],
    ['an expression of 100 KB', `pipeline: a\nsteps:\n  - uses: process.run\n    if: "${"!".repeat(100_000)}true"\n    with: { command: x }\n`],
    ['a chain of operators', `pipeline: a\nsteps:\n  - uses: process.run\n    if: ${'1 + '.repeat(2_000)}1 == 1\n    with: { command: x }\n`],
    ['200 blocks in each other', `pipeline: a\nsteps: ${'[{ try: '.repeat(200)}[{ wait: 1s }]${', finally: [{ wait: 1s }] }]'.repeat(200)}\n`],
    ['a type of 100,000 lists', `pipeline: a\ninputs:\n  a: { type: "${'list<'.repeat(100_000)}int${'>'.repeat(100_000)}" }\nsteps: [{ wait: 1s }]\n`],
    ['an alias inside of what it repeats', 'pipeline: a\nsteps: &a [{ try: *a, finally: *a }]\n'],
    ['an expression of 8,000 blanks', `pipeline: a\nsteps:\n  - { if: "\${{${' '.repeat(8_000)}}", wait: 1s }\n`],
    ['a line of 100,000 colons', `pipeline: a\nsteps:\n  - uses: process.run\n    if: ${'a b: '.repeat(100_000)}\n`],
    ['tabs', 'pipeline: a\nsteps:\n\t- uses: process.run\n\t  with: { command: a }\n'],
    ['a NUL', 'pipeline: a\u0000\nsteps: []\n'],
    ['an id of 1 MB', `pipeline: a\nsteps: [{ id: ${'k'.repeat(1_000_000)}, wait: 1s }]\n`],
    ['a key of 1 MB', `pipeline: a\nsteps: [{ wait: 1s, ${'k'.repeat(1_000_000)}: 1 }]\n`],
    ['a merge of a merge', 'pipeline: a\nx: &a { b: 1 }\ny: &c { <<: *a }\nsteps: [{ <<: *c }]\n'],
    ['deep brackets in an expression', `pipeline: a\nsteps:\n  - uses: process.run\n    if: "${'('.repeat(3_000)}true${')'.repeat(3_000)}"\n    with: { command: x }\n`],
  ])('is refused soon and in few words when it holds %s', (_name, content) => {
    const printed = print(content, 'hostile.yaml');
    expect(printed).toContain('error:');
    expect(printed).not.toMatch(/call stack/i);
    expect(printed.length).toBeLessThan(20_000);
  });

  it('is read whatever its lines end with, and with or without a mark at its beginning', () => {
    const text = 'pipeline: a\nsteps:\n  - uses: process.run\n    with: { command: make }\n';
    expect(print(text.replaceAll('\n', '\r\n'), 'lines.yaml')).toBe('');
    expect(print(`\ufeff${text}`, 'mark.yaml')).toBe('');
    expect(print(Buffer.from(text, 'utf16le'), 'wide.yaml')).toContain('[FILE_NOT_TEXT]');
  });

  it('tells that it is nested too deeply, once and in our words', () => {
    for (const depth of [200, 100_000]) {
      const printed = print(`pipeline: a\nsteps: ${'['.repeat(depth)}`, 'deep.yaml');
      expect(printed.match(/lists and maps are nested more than 100 deep \[YAML_TOO_DEEP\]/g)).toHaveLength(1);
    }
  });

  it('shows of a name that is too long how it begins and ends', () => {
    const printed = print(`pipeline: a\nsteps: [{ uses: ${'k'.repeat(1_000)}-end, with: {} }]\n`, 'long.yaml');
    expect(printed).toMatch(/there is no step type `k{80}…k{16}-end` \[STEP_TYPE_UNKNOWN\]/);
  });

  it('shows control characters and terminal escapes harmlessly, and cuts long lines', () => {
    const printed = print(`pipeline: "a\u001b[31m"\nsteps: []\n${'z'.repeat(5_000)}: 1\n`, 'escape.yaml');
    // oxlint-disable-next-line no-control-regex
    expect(printed).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    expect(Math.max(...printed.split('\n').map((line) => line.length))).toBeLessThan(5_200);
    expect(printed).toMatch(/^3 \| z{120}…$/m);
  });
});

function bomb(): string {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
  for (let level = 1; level < 12; level += 1) {
    lines.push(`a${level}: &a${level} [${Array.from({ length: 10 }, () => `*a${level - 1}`).join(', ')}]`);
  }
  return `${lines.join('\n')}\n`;
}
