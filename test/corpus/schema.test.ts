/** schema/pipeline.schema.json says what the language says, as far as a schema can: it refuses nothing that the checker accepts. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { STEP_TYPES } from '../../activities/registry.js';
import { filesBelow } from '../../cli/pipeline-files.js';
import { compilePipeline } from '../../compiler/compile.js';
import { pipelineSchema } from '../../compiler/json-schema.js';
import { mutatedTrees } from './mutations.js';

const SEED = Number(process.env['FUZZ_SEED'] ?? 20_260_101);
const RUNS = Number(process.env['FUZZ_RUNS'] ?? 400);

const root = import.meta.dirname;
const repository = join(root, '../..');
const file = join(repository, 'schema/pipeline.schema.json');

const schema = pipelineSchema(STEP_TYPES);
const ajv = new Ajv({ allErrors: true, strict: true, strictTypes: false, strictRequired: false });
// For editors alone.
ajv.addVocabulary(['markdownEnumDescriptions', 'patternErrorMessage', 'doNotSuggest']);
const validate = ajv.compile(schema);

/** What is wrong, by the schema: empty for nothing. */
function wrongIn(text: string): string[] {
  const value: unknown = parse(text, { version: '1.2', schema: 'core' });
  return validate(value) ? [] : (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`);
}

const topics = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
const corpus = topics.flatMap(({ name }) =>
  readdirSync(join(root, name))
    .filter((one) => one.endsWith('.yaml'))
    .map((one) => `${name}/${one}`),
);
const right = corpus.filter((one) => !/\/invalid-/.test(one));
const shipped = readdirSync(join(repository, 'pipelines')).filter((one) => /(?<!\.(?:test|rehearse))\.yaml$/.test(one));
const read = (one: string): string => readFileSync(join(root, one), 'utf8');

describe('schema/pipeline.schema.json', () => {
  it('is what step types and language give', () => {
    const expected = `${JSON.stringify(schema, null, 2)}\n`;
    if (process.env['UPDATE_DOCS'] === '1') writeFileSync(file, expected);
    expect(readFileSync(file, 'utf8')).toBe(expected);
  });

  it.each(right)('accepts %s', (one) => {
    expect(wrongIn(read(one))).toEqual([]);
  });

  it.each(shipped)('accepts pipelines/%s', (one) => {
    expect(wrongIn(readFileSync(join(repository, 'pipelines', one), 'utf8'))).toEqual([]);
  });

  it.each(STEP_TYPES.map(({ name, example }) => [name, example] as const))('accepts the example of %s', (_name, example) => {
    expect(wrongIn(`pipeline: example\nsteps:\n${example.trim().replaceAll(/^/gm, '  ')}\n`)).toEqual([]);
  });
});

/** What is wrong with the form of a file is for a schema to see; names, types, order and claims are for the checker alone. */
const OF_FORM = ['KEY_UNKNOWN', 'KEY_MISSING', 'STEP_KIND', 'STEP_TYPE_UNKNOWN', 'STEP_INPUT_UNKNOWN', 'STEP_INPUT_MISSING', 'VALUE_INVALID', 'ID_INVALID', 'ID_RESERVED', 'ERROR_CODE_UNKNOWN', 'DURATION_INVALID', 'CONSTRUCT_UNSUPPORTED', 'INPUT_TYPE_UNKNOWN'];

/** What a schema cannot know although it is of form, and why. */
const BEYOND: readonly string[] = [
  // It is in, or about, another file.
  'called/invalid-called-file.yaml',
  'called/invalid-inputs.yaml',
  // The length of paths.
  'ids/invalid-long-path.yaml',
  // Defaults of the type that is declared beside them.
  'inputs/invalid-defaults.yaml',
  // Ten years as a duration.
  'options/invalid-too-long.yaml',
  'wait/invalid-too-long.yaml',
  // A character that no text may hold, anywhere.
  'yaml/invalid-nul-in-a-text.yaml',
];

/** The codes that a file of the corpus is refused with. */
function codesOf(one: string): string[] {
  const printed = readFileSync(join(root, one.replace(/\.yaml$/, '.txt')), 'utf8');
  return [...new Set([...printed.matchAll(/\[([A-Z_]+)\]$/gm)].map(([, code]) => code ?? ''))];
}

/** Files that are no YAML, or not one document, no schema is asked about. */
function isYaml(one: string): boolean {
  const documents = parseAllDocuments(read(one), { version: '1.2', schema: 'core' });
  return Array.isArray(documents) && documents.length === 1 && documents[0]?.errors.length === 0;
}

describe('a mistake of form', () => {
  const ofForm = corpus.filter((one) => /\/invalid-/.test(one) && codesOf(one).some((code) => OF_FORM.includes(code)) && isYaml(one));

  it.each(ofForm.filter((one) => !BEYOND.includes(one)))('is seen in %s', (one) => {
    expect(wrongIn(read(one))).not.toEqual([]);
  });

  it('is not seen where it takes more than a schema', () => {
    expect(ofForm.length).toBeGreaterThan(100);
    for (const one of BEYOND) expect(wrongIn(read(one)), one).toEqual([]);
  });
});

describe('a file that checks', () => {
  it('is never refused', { timeout: 3_600_000 }, () => {
    let accepted = 0;
    const texts = right.filter((one) => /\/valid-/.test(one)).map(read);
    fc.assert(
      fc.property(mutatedTrees(texts), (text) => {
        const { pipeline } = compilePipeline(text, 'mutated.yaml', STEP_TYPES, filesBelow(root));
        if (pipeline === null) return;
        accepted += 1;
        expect(wrongIn(text), text).toEqual([]);
      }),
      { seed: SEED, numRuns: RUNS },
    );
    expect(accepted).toBeGreaterThan(RUNS / 40);
  });
});
