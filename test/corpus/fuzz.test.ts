/**
 * Whatever a file holds, checking it ends in diagnostics that can be shown, or in a plan that can be started.
 *
 * The seed is fixed, so that a build does not fail by chance. `FUZZ_RUNS=100000 FUZZ_SEED=7 npx vitest run --project
 * corpus fuzz` looks for more.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { STEP_TYPES } from '../../activities/registry.js';
import { bindPipeline, type GivenInput } from '../../compiler/bind.js';
import type { CheckedPipeline } from '../../compiler/check.js';
import { compilePipeline, type Compiled } from '../../compiler/compile.js';
import { printDiagnostic, type Diagnostic, type Source } from '../../compiler/diagnostic.js';
import type { Type } from '../../compiler/types.js';
import type { Json } from '../../core/json.js';
import { mutatedTexts, mutatedTrees } from './mutations.js';

const SEED = Number(process.env['FUZZ_SEED'] ?? 20_260_101);
const MORE = Number(process.env['FUZZ_RUNS'] ?? 0);
const TIMEOUT_MS = MORE === 0 ? 60_000 : 3_600_000;

function bounded(runs: number): fc.Parameters<unknown> {
  return { seed: SEED, numRuns: Math.max(runs, MORE), endOnFailure: false, interruptAfterTimeLimit: TIMEOUT_MS * 0.9 };
}

const root = import.meta.dirname;
const files = [
  ...readdirSync(root, { recursive: true, encoding: 'utf8' }).map((file) => join(root, file)),
  ...readdirSync(join(root, '../../pipelines')).filter((file) => file.endsWith('.yaml')).map((file) => join(root, '../../pipelines', file)),
].filter((file) => file.endsWith('.yaml'));
const read = (file: string): string => readFileSync(file, 'utf8');
const texts = files.map(read).filter((text) => text.length < 20_000);
const valid = files.filter((file) => /valid-|pipelines/.test(file) && !file.includes('invalid-')).map(read);

/** A value of a type, where an author can write one. */
function sampleOf(type: Type): Json {
  switch (type.kind) {
    case 'int':
    case 'number':
      return 3;
    case 'bool':
      return true;
    case 'duration':
      return '15m';
    case 'timestamp':
      return '2026-01-31T12:00:00Z';
    case 'one_of':
      return type.values[0] ?? '';
    case 'list':
      return [sampleOf(type.of)];
    case 'map':
      return { a: sampleOf(type.of) };
    case 'named':
    case 'record':
      return Object.fromEntries([...type.fields].filter(([, field]) => !field.optional).map(([name, field]) => [name, sampleOf(field.type)]));
    default:
      return 'a';
  }
}

function expectPlan(pipeline: CheckedPipeline, source: Source): void {
  const inputs = new Map<string, GivenInput>(pipeline.inputs.map(({ name, type }) => [name, { value: sampleOf(type) }]));
  const network = { coordinator: 'https://example.com', hotkey: 'a' };
  const { plan, diagnostics } = bindPipeline(pipeline, { inputs, network, sourceSha256: '0'.repeat(64), source });
  // Values of some named types have a form that a sample cannot guess.
  for (const { code } of diagnostics) expect(['INPUT_INVALID', 'PLAN_TOO_LARGE']).toContain(code);
  if (plan !== null) expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
}

/** What is wrong with how a diagnostic would be shown. */
function problemsOf(diagnostic: Diagnostic, source: Source): string[] {
  const { line, column, endLine, endColumn, message } = diagnostic;
  const widthOf = (row: number): number =>
    (source.lineStarts[row] ?? source.text.length + 1) - (source.lineStarts[row - 1] ?? 0);
  const isInside = line > 0 && endLine <= source.lineStarts.length && column > 0 && column <= widthOf(line) && endColumn <= widthOf(endLine);
  const isForward = endLine > line || (endLine === line && endColumn >= column);
  // oxlint-disable-next-line no-control-regex
  const isHarmless = !/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/.test(printDiagnostic(diagnostic, source));
  return [
    ...(isInside ? [] : ['it stands outside of the file']),
    ...(isForward ? [] : ['it ends before it begins']),
    ...(isHarmless ? [] : ['it would change the terminal']),
    ...(message === '' ? ['it says nothing'] : []),
  ].map((problem) => `${problem}: ${JSON.stringify(diagnostic)}`);
}

function examine(content: string | Uint8Array): Compiled {
  const compiled = compilePipeline(content, 'fuzz.yaml', STEP_TYPES);
  const { pipeline, diagnostics, source } = compiled;
  expect(pipeline === null).toBe(diagnostics.some(({ severity }) => severity === 'error'));
  const places = diagnostics.map(({ line, column }) => line * 1_000_000 + column);
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  const told = diagnostics.map(({ code, line, column, endLine, endColumn, message }) => [code, line, column, endLine, endColumn, message].join(' '));
  expect(new Set(told).size).toBe(told.length);
  expect(diagnostics.flatMap((diagnostic) => problemsOf(diagnostic, source))).toEqual([]);
  if (pipeline !== null) expectPlan(pipeline, source);
  return compiled;
}

describe('fuzzing', () => {
  it('survives pipelines with tokens put in, taken out, moved and swapped', { timeout: TIMEOUT_MS }, () => {
    fc.assert(fc.property(mutatedTexts(texts), (text) => void examine(text)), bounded(400));
  });

  it('survives pipelines with parts of their tree changed, and accepts some of them', { timeout: TIMEOUT_MS }, () => {
    let accepted = 0;
    fc.assert(
      fc.property(mutatedTrees(valid), (text) => {
        if (examine(text).pipeline !== null) accepted += 1;
      }),
      bounded(300),
    );
    expect(accepted).toBeGreaterThan(10);
  });

  it('survives any bytes', { timeout: TIMEOUT_MS }, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(examine(bytes).pipeline).toBeNull();
      }),
      bounded(300),
    );
  });

  it('survives any expression', { timeout: TIMEOUT_MS }, () => {
    const words = fc.array(
      fc.constantFrom('inputs.a', 'inputs', 'steps.b.c', 'steps', 'run.id', '1', '2.5', '"t"', 'true', 'null', '(', ')', '[', ']', '{', '}', ',', '.', '?', ':', '+', '-', '*', '/', '%', '==', '=', '<', '&&', '||', '!', 'in', 'and', 'not', 'has(', 'size(', '.map(x, ', '.all(x, x', 'x', 'nil_', 'r"a"', "b'a'", '1u', '0x1F', '.?', '[?', '__proto__', 'cel.bind(y, 1, y)', 'google', 'optional.none()', 'type(1)', '${{', '}}', '=>', '{{', 'é'),
      { minLength: 1, maxLength: 12 },
    );
    fc.assert(
      fc.property(words, (parts) => {
        const expression = parts.join(' ').replaceAll("'", "''");
        examine(`pipeline: a\ninputs:\n  a: { type: int, default: 1 }\nsteps:\n  - uses: process.run\n    if: '${expression}'\n    with: { command: a }\n`);
      }),
      bounded(800),
    );
  });

  it('survives any input that a run is given', { timeout: TIMEOUT_MS }, () => {
    const { pipeline, source } = compilePipeline(read(join(root, 'inputs/valid-all-types.yaml')), 'fuzz.yaml', STEP_TYPES);
    if (pipeline === null) throw new Error('inputs/valid-all-types.yaml has a mistake.');
    const value = fc.oneof(
      fc.string().map((text) => ({ text })),
      fc.constantFrom('[1, 2', '{a: b', '*a', '&a [*a]', '!!js a', '1e999', '0x10', '9007199254740993', '[]', '{}', 'null', '', ' ', '---\n---', '<<: {}').map((text) => ({ text })),
      fc.jsonValue().map((json) => ({ value: json as Json })),
    );
    const names = [...pipeline.inputs.map(({ name }) => name), 'none', '__proto__'];
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...names), value)), (given) => {
        const { plan, diagnostics } = bindPipeline(pipeline, { inputs: new Map<string, GivenInput>(given), network: { coordinator: '', hotkey: '' }, sourceSha256: '', source });
        expect(plan === null).toBe(diagnostics.length > 0);
        expect(diagnostics.flatMap((diagnostic) => problemsOf(diagnostic, source))).toEqual([]);
        if (plan !== null) expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
      }),
      bounded(300),
    );
  });
});
