import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { STEP_TYPES } from '../../activities/registry.js';
import { compilePipeline } from '../../compiler/compile.js';
import { compileRehearsalFile } from '../../testing/rehearsal-file.js';
import { formatText } from '../format-text.js';
import { RULE_WORDS } from './rehearsal-file.js';
import { skeletonOf } from './skeleton.js';

const root = join(import.meta.dirname, '../..');

function skeletonFor(text: string): { text: string; codes: string[]; standIns: unknown } {
  const { pipeline, source } = compilePipeline(text, 'a.yaml', STEP_TYPES);
  if (pipeline === null) throw new Error('The pipeline has mistakes.');
  const written = skeletonOf(pipeline, '../schema');
  const known = { pipeline, source, signatures: STEP_TYPES, words: RULE_WORDS };
  const { diagnostics, rehearsal } = compileRehearsalFile(written, 'a.rehearse.yaml', known);
  return {
    text: written,
    codes: diagnostics.map(({ code }) => code),
    standIns: rehearsal?.standIns,
  };
}

test('that of the shipped round can be played as it is', async () => {
  const file = join(root, 'pipelines/frontier-round.yaml');
  const { text, codes, standIns } = skeletonFor(readFileSync(file, 'utf8'));
  expect(codes).toEqual([]);
  expect(text).toMatch(/^# yaml-language-server: \$schema=\.\.\/schema\/rehearse\.schema\.json\n/);
  expect(standIns).toMatchObject([{ path: 'approval' }]);
  const formatted = await formatText(Buffer.from(text), 'a.rehearse.yaml');
  expect(formatted).toMatchObject({ kind: 'formatted', changed: false });
});

test('people and pauses have a stand-in; what only the author knows is asked for', () => {
  const { text, codes } = skeletonFor(`pipeline: a
inputs: { mine: { type: string } }
steps:
  - id: asked
    approve: { summary: May it?, fields: { lane: { one_of: [fast, slow] }, note: { type: string, default: x } } }
  - wait: 8h
  - foreach: "['a']"
    as: one
    steps: [{ wait: 1m }]
  - { uses: process.run, with: { command: '\${{ inputs.mine }} \${{ steps.asked.lane }}' } }
`);
  expect(text).toContain('steps:\n  asked: { lane: fast }\n  "[1]": {}\n');
  expect(text).toContain('  mine: # string: write one\n');
  expect(codes).toEqual(['VALUE_TYPE']);
});

test('a pipeline without inputs and people has one too', () => {
  const { codes } = skeletonFor(
    'pipeline: a\nsteps: [{ uses: process.run, with: { command: "true" } }]\n',
  );
  expect(codes).toEqual([]);
});
