/** The schemas of test files and rehearsal files: they refuse nothing that the checker accepts, and see mistakes of form. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { STEP_TYPES } from '../../activities/registry.js';
import { RULE_WORDS } from '../../cli/rehearsal/rehearsal-file.js';
import { schemaOf } from '../../cli/schemas.js';
import { compilePipeline } from '../../compiler/compile.js';
import { compileRehearsalFile } from '../../testing/rehearsal-file.js';
import { compileTestFile } from '../../testing/compile-test-file.js';
import { mutatedTrees } from './mutations.js';

const SEED = Number(process.env['FUZZ_SEED'] ?? 20_260_101);
const RUNS = Number(process.env['FUZZ_RUNS'] ?? 400);

const repository = join(import.meta.dirname, '../..');
const pipelines = join(repository, 'pipelines');

function validatorOf(kind: 'test' | 'rehearse'): (text: string) => string[] {
  const ajv = new Ajv({ allErrors: true, strict: true, strictTypes: false, strictRequired: false });
  // For editors alone.
  ajv.addVocabulary(['markdownEnumDescriptions', 'patternErrorMessage', 'doNotSuggest']);
  const validate: ValidateFunction = ajv.compile(schemaOf(kind));
  return (text) => {
    const value: unknown = parse(text, { version: '1.2', schema: 'core' });
    return validate(value) ? [] : (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`);
  };
}

const PIPELINE = `
pipeline: a
inputs: { one: { type: string, default: x } }
steps:
  - id: asked
    approve: { summary: May it?, fields: { lane: { one_of: [fast, slow], default: fast } } }
  - id: act
    uses: process.run
    with: { command: 'echo \${{ inputs.one }} \${{ steps.asked.lane }}' }
    on_failure: ask
  - { id: pause, wait: 1h }
`;

const ACTED = "{ exit_code: 0, outputs: {}, log: { uri: 'store:x', sha256: '${{ values.sha }}', sizeBytes: 1 } }";

/** Every form that a test file may have. */
const TESTS = `
pipeline: a.yaml
now: 2026-01-01T00:00:00Z
inputs: { one: y }
values: { sha: ${'a'.repeat(64)} }
steps:
  act: { outputs: ${ACTED}, delay: 5m }
decisions: { act: [retry, { decide: fail, after: 10m }] }
approvals:
  asked: [{ approve, by: ann, after: 10m, reason: it is good }, { approve: { lane: slow } }]
tests:
  - name: one
    expect: status == 'succeeded'
  - name: two
    now: 2026-01-02T00:00:00Z
    cancel: 2h
    inputs:
    steps: { act: [{ error: PROGRAM_FAILED, message: no, hint: none, ask_for: 5m }, { error: PROGRAM_LOST, retry_after: 5s }] }
    decisions: { act: { value: { exit_code: 0, outputs: {}, log: { uri: 'store:x', sha256: ${'a'.repeat(64)}, sizeBytes: 1 } } } }
    approvals: { asked: { reject: no, by: ann } }
    expect: [true, "starts.act >= 0", '!ran.pause || true']
  - { name: three, approvals: { asked: approve }, expect: [seconds >= 0] }
`;

const REHEARSAL = `
inputs: { one: '\${coordinator}' }
steps:
  asked: { lane: slow }
  act: { exit_code: 0, outputs: {}, log: { uri: 'store:x', sha256: ${'a'.repeat(64)}, sizeBytes: 1 } }
  pause: {}
rules: { once: size(claims) <= 1, always: true }
limit: 90s
`;

const readPipeline = () => ({ file: 'a.yaml', content: new TextEncoder().encode(PIPELINE) });
const { pipeline, source } = compilePipeline(PIPELINE, 'a.yaml', STEP_TYPES);

const KINDS = {
  test: {
    text: TESTS,
    accepts: (text: string) => compileTestFile(text, 'a.test.yaml', STEP_TYPES, readPipeline).file !== null,
  },
  rehearse: {
    text: REHEARSAL,
    accepts: (text: string) => {
      if (pipeline === null) throw new Error('The pipeline has mistakes.');
      const known = { pipeline, source, signatures: STEP_TYPES, words: RULE_WORDS };
      return compileRehearsalFile(text, 'a.rehearse.yaml', known).rehearsal !== null;
    },
  },
} as const;

describe.each(['test', 'rehearse'] as const)('schema/%s.schema.json', (kind) => {
  const wrongIn = validatorOf(kind);
  const { text: written, accepts } = KINDS[kind];

  it('is what step types and tables give', () => {
    const file = join(repository, `schema/${kind}.schema.json`);
    const expected = `${JSON.stringify(schemaOf(kind), null, 2)}\n`;
    if (process.env['UPDATE_DOCS'] === '1') writeFileSync(file, expected);
    expect(readFileSync(file, 'utf8')).toBe(expected);
  });

  const shipped = [pipelines, join(pipelines, 'bad')].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith(`.${kind}.yaml`))
      .map((name) => join(folder, name)),
  );

  it.each(shipped)('accepts %s', (file) => {
    expect(wrongIn(readFileSync(file, 'utf8'))).toEqual([]);
  });

  it('accepts every form', () => {
    expect(accepts(written)).toBe(true);
    expect(wrongIn(written)).toEqual([]);
  });

  it('refuses no file that checks', { timeout: 3_600_000 }, () => {
    let accepted = 0;
    fc.assert(
      fc.property(mutatedTrees([written]), (text) => {
        if (!accepts(text)) return;
        accepted += 1;
        expect(wrongIn(text), text).toEqual([]);
      }),
      { seed: SEED, numRuns: RUNS },
    );
    expect(accepted).toBeGreaterThan(RUNS / 40);
  });
});

describe('a mistake of form is seen', () => {
  const inTest = validatorOf('test');
  const inRehearsal = validatorOf('rehearse');
  const test = (more: string): string => `tests: [{ name: a, expect: [true] }]\n${more}\n`;

  it.each([
    'tests: []',
    'tests: [{ name: a }]',
    'tests: [{ name: a, expect: [] }]',
    'tests: [{ name: a, expect: [true], cancel: 5 }]',
    test('nwo: 2026-01-01T00:00:00Z'),
    test('steps: { a: { outputs: {}, error: PROGRAM_LOST } }'),
    test('steps: { a: { outputs: {}, message: no } }'),
    test('steps: { a: { outputs: { exit_cod: 1 } } }'),
    test('steps: { a: { error: PROGRAM_LOSST } }'),
    test('steps: { a: { stop: PROGRAM_LOST } }'),
    test('steps: { a: [] }'),
    test('decisions: { a: retri }'),
    test('approvals: { a: { approve: , reject: no } }'),
  ])('in a test file: %s', (text) => {
    expect(inTest(text)).not.toEqual([]);
    expect(compileTestFile(text, 'a.test.yaml', STEP_TYPES, readPipeline).file).toBeNull();
  });

  it.each(['input: {}', 'steps: { asked: yes }', 'rules: { ended: true }', 'rules: { a-b: true }', 'rules: [true]', 'limit: 5'])(
    'in a rehearsal file: %s',
    (text) => {
      expect(inRehearsal(text)).not.toEqual([]);
      expect(KINDS.rehearse.accepts(text)).toBe(false);
    },
  );
});
