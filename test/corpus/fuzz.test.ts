/** Whatever a file holds, checking it ends, soon, in diagnostics: it never throws and never hangs. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { STEP_TYPES } from '../../activities/registry.js';
import { compilePipeline } from '../../compiler/compile.js';
import { printDiagnostic } from '../../compiler/diagnostic.js';

const round = readFileSync(join(import.meta.dirname, '../../pipelines/frontier-round.yaml'), 'utf8');
const lines = round.split('\n');

const PIECES = [
  '${{', '}}', '{', '}', '[', ']', '"', "'", ': ', '- ', '\n', '\t', '  ', '&a ', '*a', '<<: ', '!!str ', '|\n', '>-\n', '#', '%YAML 1.1\n',
  '---\n', '?', 'if: ', 'foreach: ', 'try:\n', 'uses: ', 'id: ', 'with: ', 'steps.', 'inputs.', 'has(', ')', '.map(x, ', ' ? ', ' && ', '1e999',
  '\u0000', '\ufeff', '\u001b[31m', '😀', '\ud800', '~', 'null', '__proto__', 'constructor', '$${{',
];

const edits = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('insert' as const), at: fc.nat(), piece: fc.constantFrom(...PIECES) }),
    fc.record({ kind: fc.constant('delete' as const), at: fc.nat(), length: fc.integer({ min: 1, max: 30 }) }),
    fc.record({ kind: fc.constant('move' as const), at: fc.nat(), to: fc.nat() }),
  ),
  { minLength: 1, maxLength: 6 },
);

function check(text: string): void {
  const { pipeline, diagnostics, source } = compilePipeline(text, 'fuzz.yaml', STEP_TYPES);
  expect(pipeline === null).toBe(diagnostics.some(({ severity }) => severity === 'error'));
  for (const diagnostic of diagnostics) {
    const printed = printDiagnostic(diagnostic, source);
    // oxlint-disable-next-line no-control-regex
    expect(printed).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    expect(diagnostic.line).toBeGreaterThan(0);
    const isBehind = diagnostic.endLine > diagnostic.line || diagnostic.endColumn >= diagnostic.column;
    expect(isBehind).toBe(true);
  }
}

describe('fuzzing', () => {
  it('survives a shipped pipeline with pieces put in, taken out and moved', () => {
    fc.assert(
      fc.property(edits, (list) => {
        const [head, ...body] = [lines.slice(0, 20), lines.slice(20, 60), lines.slice(-80)].map((part) => part.join('\n'));
        let text = `${head}\n${body.join('\n')}`;
        for (const edit of list) {
          const at = edit.at % text.length;
          if (edit.kind === 'insert') text = text.slice(0, at) + edit.piece + text.slice(at);
          else if (edit.kind === 'delete') text = text.slice(0, at) + text.slice(at + edit.length);
          else {
            const rows = text.split('\n');
            const [row] = rows.splice(edit.at % rows.length, 1);
            rows.splice(edit.to % rows.length, 0, row ?? '');
            text = rows.join('\n');
          }
        }
        check(text);
      }),
      { numRuns: 300, endOnFailure: true },
    );
  });

  it('survives any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const { pipeline } = compilePipeline(bytes, 'fuzz.yaml', STEP_TYPES);
        expect(pipeline).toBeNull();
      }),
      { numRuns: 300, endOnFailure: true },
    );
  });

  it('survives any expression', () => {
    const words = fc.array(
      fc.constantFrom('inputs.a', 'inputs', 'steps.b.c', 'steps', 'run.id', '1', '2.5', '"t"', 'true', 'null', '(', ')', '[', ']', '{', '}', ',', '.', '?', ':', '+', '-', '*', '/', '%', '==', '<', '&&', '||', '!', 'in', 'has(', 'size(', '.map(x, ', '.all(x, x', 'x', 'nil_', 'r"a"', "b'a'", '1u', '0x1F', '.?', '[?', '__proto__', 'cel.bind(y, 1, y)', 'google', 'optional.none()', 'type(1)'),
      { minLength: 1, maxLength: 12 },
    );
    fc.assert(
      fc.property(words, (parts) => {
        const expression = parts.join(' ').replaceAll("'", "''");
        check(`pipeline: a\ninputs:\n  a: { type: int, default: 1 }\nsteps:\n  - uses: process.run\n    if: '${expression}'\n    with: { command: a }\n`);
      }),
      { numRuns: 1_500, endOnFailure: true },
    );
  });
});
