/** An author's editor, with the language server that all of them use: it completes, explains and underlines by our schema. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { STEP_TYPES } from '../../activities/registry.js';
import {
  startLanguageServer,
  type LanguageServer,
  type OpenDocument,
} from '../support/language-server.js';

const folder = join(import.meta.dirname, '../../pipelines');
const HEAD = '# yaml-language-server: $schema=../schema/pipeline.schema.json\n';

let server: LanguageServer;
let opened = 0;

beforeAll(async () => {
  server = await startLanguageServer();
});

afterAll(() => server.close());

/** A pipeline beside the shipped ones; `‸` is the cursor. */
function open(text: string): Promise<OpenDocument> {
  opened += 1;
  return server.open(join(folder, `editor-${opened}.yaml`), HEAD + text);
}

async function labelsAt(text: string): Promise<string[]> {
  const items = await (await open(text)).complete();
  return [...new Set(items.map(({ label }) => label))];
}

/** What is underlined, as the text that stands there and the message. */
async function underlined(text: string): Promise<[string, string][]> {
  const lines = (HEAD + text).split('\n');
  const { diagnostics } = await open(text);
  return (await diagnostics).map(({ range: { start, end }, message }) => [
    (lines[start.line] ?? '').slice(start.character, end.character),
    typeof message === 'string' ? message : message.value,
  ]);
}

describe('an editor completes', () => {
  it('every step type behind `uses:`, with what it does', async () => {
    const document = await open('pipeline: a\nsteps:\n  - id: one\n    uses: ‸\n');
    const items = await document.complete();
    expect(items.map(({ label }) => label).sort()).toEqual(
      STEP_TYPES.map(({ name }) => name).sort(),
    );
    const train = items.find(({ label }) => label === 'candidate.train');
    expect(JSON.stringify(train?.documentation)).toContain('Trains a candidate');
  });

  it('the inputs of that step type under `with:`, and no others', async () => {
    const labels = await labelsAt(
      'pipeline: a\nsteps:\n  - uses: candidate.train\n    with:\n      command: make\n      ‸\n',
    );
    const train = STEP_TYPES.find(({ name }) => name === 'candidate.train');
    const inputs = Object.keys(train?.input.shape ?? {});
    expect(labels.filter((label) => inputs.includes(label)).sort()).toEqual(
      inputs.filter((name) => name !== 'command').sort(),
    );
    expect(labels).not.toContain('slug');
  });

  it('what a step can be, and in a block only what that block has', async () => {
    const any = await labelsAt('pipeline: a\nsteps:\n  - id: one\n    ‸\n');
    expect(any).toEqual(expect.arrayContaining(['uses', 'foreach', 'try', 'approve', 'pipeline']));
    expect(any).not.toContain('needs');
    const items = await labelsAt('pipeline: a\nsteps:\n  - foreach: inputs.a\n    ‸\n');
    expect(items).toEqual(expect.arrayContaining(['as', 'limit', 'collect', 'steps']));
    expect(items).not.toContain('uses');
  });

  it('`needs` in a branch of a `parallel`', async () => {
    const labels = await labelsAt(
      'pipeline: a\nsteps:\n  - parallel:\n      - id: one\n        ‸\n',
    );
    expect(labels).toContain('needs');
  });

  it('events, error codes and the types of inputs', async () => {
    expect(await labelsAt('pipeline: a\nnotify:\n  - ‸\n')).toContain('parked');
    expect(
      await labelsAt(
        'pipeline: a\nsteps:\n  - uses: round.preflight\n    retry:\n      never:\n        - ‸\n',
      ),
    ).toContain('PROGRAM_LOST');
    expect(await labelsAt('pipeline: a\ninputs:\n  one:\n    type: ‸\n')).toEqual(
      expect.arrayContaining(['string', 'Recipe', 'list<Recipe>']),
    );
  });
});

describe('an editor explains', () => {
  it('the step type under the cursor, with what holds when nobody says otherwise', async () => {
    const document = await open(
      'pipeline: a\nsteps:\n  - uses: candidate.tr‸ain\n    with: { command: make }\n',
    );
    const text = await document.hover();
    expect(text).toMatch(/^Trains a candidate with the command of the operator/);
    expect(text).toContain('7h of run time');
  });

  it('an input of it', async () => {
    const text = 'pipeline: a\nsteps:\n  - uses: coordinator.discover\n    with: { sl‸ug: a }\n';
    expect(await (await open(text)).hover()).toContain('Slug');
  });

  it('a key of the language', async () => {
    const text = 'pipeline: a\nsteps:\n  - uses: round.preflight\n    time‸out: 1h\n';
    expect(await (await open(text)).hover()).toContain('Time for the whole step');
  });
});

describe('an editor underlines', () => {
  it('nothing in the shipped round, which names the schema itself', async () => {
    const file = join(folder, 'frontier-round.yaml');
    const text = readFileSync(file, 'utf8');
    expect(text).toMatch(/^# yaml-language-server: \$schema=/);
    expect(await (await server.open(file, text)).diagnostics).toEqual([]);
    const document = await server.open(`${file}.yaml`, text.replace('uses: round', 'uses: rund'));
    expect(await document.diagnostics).toHaveLength(1);
  });

  it('nothing in what is right', async () => {
    expect(
      await underlined(
        "pipeline: a\nsteps:\n  - id: one\n    uses: coordinator.discover\n    with: { slug: a }\n  - { uses: workspace.clone, with: { task: '${{ steps.one.task }}' }, on_failure: ask }\n",
      ),
    ).toEqual([]);
  });

  it('a step type that there is not', async () => {
    const [found] = await underlined('pipeline: a\nsteps:\n  - uses: coordinator.clam\n');
    expect(found?.[0]).toBe('coordinator.clam');
    expect(found?.[1]).toContain('"coordinator.claim"');
  });

  it('an input that the step type has not, one that it needs, and one that only a step can make', async () => {
    const found = await underlined(
      'pipeline: a\nsteps:\n  - uses: workspace.setup\n    with:\n      workspce: x\n      task: y\n',
    );
    expect(found).toEqual(
      expect.arrayContaining([
        ['workspce', 'Property workspce is not allowed.'],
        ['y', 'A Task comes from a step: ${{ steps.<id>.<output> }}.'],
        [expect.any(String), 'Missing property "workspace".'],
      ]),
    );
  });

  it('a duration without a unit', async () => {
    const [found] = await underlined(
      'pipeline: a\nsteps:\n  - uses: round.preflight\n    timeout: "90"\n',
    );
    expect(found).toEqual(['"90"', expect.stringContaining('numbers with a unit')]);
  });
});

describe('an editor knows the other files of an author', () => {
  const openAs = (kind: string, text: string): Promise<OpenDocument> => {
    opened += 1;
    const head = `# yaml-language-server: $schema=../schema/${kind}.schema.json\n`;
    return server.open(join(folder, `editor-${opened}.${kind}.yaml`), head + text);
  };

  it('a test file: completes outputs of steps, explains them, underlines a code that there is not', async () => {
    const document = await openAs(
      'test',
      'steps:\n  trained:\n    outputs:\n      ‸\ntests:\n  - { name: a, expect: [true] }\n',
    );
    const items = await document.complete();
    const artifact = items.find(({ label }) => label === 'artifact');
    expect(JSON.stringify(artifact?.documentation)).toContain('candidate.train');
    const hovered = await openAs('test', 'tests:\n  - { name: a, ex‸pect: [true] }\n');
    expect(await hovered.hover()).toContain('What must be so');
    const wrong = await openAs(
      'test',
      'steps: { a: { error: PROGRAM_LOSST } }\ntests: [{ name: a, expect: [true] }]\n',
    );
    expect(await wrong.diagnostics).not.toEqual([]);
  });

  it('a rehearsal file: completes its keys, explains them, underlines a rule that Adit has', async () => {
    const document = await openAs('rehearse', 'inputs: {}\n‸\n');
    const labels = (await document.complete()).map(({ label }) => label);
    expect(labels).toEqual(expect.arrayContaining(['steps', 'rules', 'limit']));
    const hovered = await openAs('rehearse', 'ru‸les: { a: true }\n');
    expect(await hovered.hover()).toContain('What must be so after every run');
    const wrong = await openAs('rehearse', 'rules: { one_submission: true }\n');
    expect(await wrong.diagnostics).toHaveLength(1);
  });

  it.each(['test', 'rehearse'])('nothing is underlined in the shipped %s file', async (kind) => {
    const file = join(folder, `frontier-round.${kind}.yaml`);
    expect(await (await server.open(file, readFileSync(file, 'utf8'))).diagnostics).toEqual([]);
  });
});
