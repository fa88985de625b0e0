/** What docs/language.md says is so: each claim in test/fixtures/language is quoted from it, and tried. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readClaims, tryClaim, withoutBlanks } from '../support/claims.js';

const document = readFileSync(join(import.meta.dirname, '../../docs/language.md'), 'utf8');
const text = withoutBlanks(document);
const folder = join(import.meta.dirname, '../fixtures/language');

describe.each(readdirSync(folder))('%s', (file) => {
  const claims = readClaims(join(folder, file)).map((claim, at) => {
    const quotes = [claim.says].flat();
    return { claim, quotes, name: `${at + 1}: ${quotes.join(' / ')}` };
  });
  it.each(claims)('$name', async ({ claim, quotes }) => {
    for (const quote of quotes) expect(text).toContain(withoutBlanks(quote));
    await tryClaim(claim);
  });
});

/** What stands around the examples, by how they begin; the first is a whole file. */
const AROUND: readonly (readonly [string, string])[] = [
  ['- uses: process.run', 'inputs: { name: { type: string } }\nsteps:\n'],
  ['- parallel:', 'steps:\n  - { id: discover, uses: coordinator.discover, with: { slug: x } }\n'],
  ['- id: settled', 'steps:\n'],
  [
    '- id: approval',
    `steps:
  - { id: discover, uses: coordinator.discover, with: { slug: x } }
  - { id: patch, pipeline: ./other.yaml }
  - { id: best, pipeline: ./other.yaml }
`,
  ],
  [
    'claim:',
    `inputs: { yes: { type: bool } }
steps: [{ id: claim, if: inputs.yes, pipeline: ./other.yaml }]
outputs:
`,
  ],
  [
    '- id: gate',
    `steps:
  - { id: discover, uses: coordinator.discover, with: { slug: x } }
  - { id: source, uses: workspace.clone, with: { task: '\${{ steps.discover.task }}' } }
`,
  ],
];
const CALLED = {
  'gate.yaml': `pipeline: gate
inputs: { workspace: { type: Workspace }, threshold: { type: number, default: 0.1 } }
steps:
  - { uses: process.run, with: { command: make, workspace: '\${{ inputs.workspace }}' } }
outputs: { gain: '\${{ inputs.threshold * 2.0 }}' }
`,
  'other.yaml': `pipeline: other
steps: [{ wait: 1s }]
outputs: { patch: text, gain: 0.5, claim: text }
`,
};

describe('its examples', () => {
  const examples = [...document.matchAll(/```yaml\n(.*?)```/gs)].map(([, example = '']) => example);

  it.each(examples.map((example) => [example.split('\n')[0], example]))(
    '%s',
    async (_first, example) => {
      const [, around] = AROUND.find(([begin]) => example.startsWith(begin)) ?? ['', ''];
      const indented = example.replaceAll(/^(?=.)/gm, around === '' ? '' : '  ');
      await tryClaim({
        says: '',
        file: `${around}${indented}`,
        called: CALLED,
        codes: [],
      });
    },
  );
});
