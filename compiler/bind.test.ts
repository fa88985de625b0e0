import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { bindPipeline, type GivenInput } from './bind.js';
import { compilePipeline } from './compile.js';
import { printDiagnostic } from './diagnostic.js';
import type { StepSignature } from './step-signature.js';

const shell: StepSignature = {
  name: 'process.run',
  summary: 'Runs a command.',
  input: z.object({ command: z.string(), env: z.record(z.string(), z.string()).optional() }),
  output: z.object({ exit_code: z.int() }),
  defaults: { timeout: '1h', attemptTimeout: '30m', heartbeat: '20s', retry: { attempts: 5 } },
  errors: [],
  host: [['workspace']],
  example: '',
};

const TEXT = `pipeline: example
inputs:
  task: { type: string, summary: Slug of a task. }
  count: { type: int, default: 3 }
  rate: { type: number, default: 0.5 }
  deep: { type: bool, default: false }
  wait: { type: duration, default: 5m }
  since: { type: timestamp, required: false }
  mode: { one_of: [fast, slow], default: fast }
  tags: { type: list<string>, default: [] }
  recipes: { type: list<Recipe>, default: [] }
  limits: { type: map<number>, default: {} }
steps:
  - id: a
    uses: process.run
    timeout: 10m
    with: { command: "echo \${{ inputs.task }}", env: { A: b } }
`;
const NETWORK = { coordinator: 'https://coordinator.example', hotkey: '5F' };

function bind(given: { readonly [name: string]: GivenInput }, text = TEXT) {
  const { pipeline, diagnostics, source } = compilePipeline(text, 'example.yaml', [shell]);
  expect(diagnostics.filter(({ severity }) => severity === 'error')).toEqual([]);
  if (pipeline === null) throw new Error('not compiled');
  const inputs = new Map(Object.entries(given));
  const bound = bindPipeline(pipeline, {
    inputs,
    network: NETWORK,
    sourceSha256: 'ab'.repeat(32),
    source,
  });
  return { ...bound, printed: bound.diagnostics.map((one) => printDiagnostic(one, source)) };
}

describe('binding', () => {
  it('makes a plan of plain JSON, with defaults filled in and options resolved', () => {
    const { plan } = bind({ task: { text: 'tiny' } });
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
    expect(plan).toEqual({
      irVersion: 1,
      pipeline: 'example',
      sourceSha256: 'ab'.repeat(32),
      network: NETWORK,
      inputs: {
        task: 'tiny',
        count: 3,
        rate: 0.5,
        deep: false,
        wait: '5m',
        mode: 'fast',
        tags: [],
        recipes: [],
        limits: {},
      },
      steps: [
        {
          kind: 'step',
          id: 'a',
          key: 'a',
          uses: 'process.run',
          with: [
            [
              'command',
              {
                t: 'text',
                parts: ['echo ', { op: 'member', of: { op: 'name', name: 'inputs' }, key: 'task' }],
              },
            ],
            ['env', { t: 'value', value: { A: 'b' } }],
          ],
          optional: ['env'],
          host: [['workspace']],
          options: {
            timeoutMs: 600_000,
            // The step type's own limit for an attempt is longer than what the author gives to all of them.
            attemptTimeoutMs: 600_000,
            heartbeatMs: 20_000,
            retry: { attempts: 5, firstMs: 2_000, factor: 2, mostMs: 60_000, never: [] },
          },
        },
      ],
      outputs: [],
    });
  });

  it('reads text by the type of the input', () => {
    const { plan, printed } = bind({
      task: { text: 'yes' },
      count: { text: '-7' },
      rate: { text: '1e-3' },
      deep: { text: 'true' },
      wait: { text: '1h30m' },
      since: { text: '2026-01-31T12:00:00+02:00' },
      mode: { text: 'slow' },
      tags: { text: '[a, "b c", on]' },
      recipes: { text: '[{"name":"r","edits":[{"path":"a.py","find":"1","replace":"2"}]}]' },
      limits: { value: { a: 1, b: 2.5 } },
    });
    expect(printed).toEqual([]);
    expect(plan?.inputs).toEqual({
      task: 'yes',
      count: -7,
      rate: 0.001,
      deep: true,
      wait: '1h30m',
      since: '2026-01-31T12:00:00+02:00',
      mode: 'slow',
      tags: ['a', 'b c', 'on'],
      recipes: [{ name: 'r', edits: [{ path: 'a.py', find: '1', replace: '2' }] }],
      limits: { a: 1, b: 2.5 },
    });
  });

  it('says that an input is missing, at its declaration', () => {
    const { plan, printed } = bind({});
    expect(plan).toBeNull();
    expect(printed).toEqual([
      [
        'example.yaml:3:3: error: the input `task` is missing: Slug of a task. [INPUT_MISSING]',
        '3 |   task: { type: string, summary: Slug of a task. }',
        '  |   ~~~~',
        '  = give it with `--input task=…`',
      ].join('\n'),
    ]);
  });

  it('says what was meant by an input that does not exist', () => {
    const { printed } = bind({ task: { text: 'a' }, cuont: { text: '3' } });
    expect(printed).toEqual([
      [
        'example.yaml:2:1: error: the pipeline `example` has no input `cuont` [INPUT_UNKNOWN]',
        '2 | inputs:',
        '  | ~~~~~~',
        '  = did you mean `count`?',
      ].join('\n'),
    ]);
  });

  it('shows no text that looks like a secret', () => {
    const token = `hf_${'a1'.repeat(17)}`;
    const words = 'act act act act act act act act act act act act';
    const { printed } = bind({
      task: { text: 'a' },
      count: { text: token },
      tags: { text: token },
      recipes: { text: `*${token}` },
      limits: { value: { [token]: 'much' } },
      rate: { text: words },
    });
    for (const secret of [token, words]) expect(printed.join('\n')).not.toContain(secret);
    expect(printed).toHaveLength(5);
    expect(printed.join('\n')).toContain(
      'the input `count` is a text that looks like a secret, which is not an int',
    );
  });

  it.each<[string, string, GivenInput, string]>([
    [
      'a text for an int',
      'count',
      { text: 'many' },
      'the input `count` is `many`, which is not an int',
    ],
    [
      'a fraction for an int',
      'count',
      { text: '1.5' },
      'the input `count` is `1.5`, which is not an int',
    ],
    [
      'an int that loses digits',
      'count',
      { text: '12345678901234567890' },
      'the input `count` is `12345678901234567890`, which is beyond ±2^53',
    ],
    [
      'a word for a number',
      'rate',
      { text: 'NaN' },
      'the input `rate` is `NaN`, which is not a number',
    ],
    [
      'a number out of range',
      'rate',
      { text: '1e999' },
      'the input `rate` takes number, not `Infinity`',
    ],
    [
      'a word for a bool',
      'deep',
      { text: 'yes' },
      'the input `deep` is `yes`, which is neither true nor false',
    ],
    ['a number for a duration', 'wait', { text: '5' }, 'the input `wait` takes duration, not `5`'],
    [
      'a date for a timestamp',
      'since',
      { text: '2026-01-31' },
      'the input `since` takes timestamp, not `2026-01-31`',
    ],
    [
      'a word that is none of them',
      'mode',
      { text: 'fats' },
      'the input `mode` takes one of "fast", "slow", not `fats`',
    ],
    [
      'a list given as text',
      'tags',
      { text: 'a,b' },
      'the input `tags` takes list<string>, not `a,b`',
    ],
    [
      'a list with another item',
      'tags',
      { text: '[a, 1]' },
      'the input `tags` takes string at `[1]`, not `1`',
    ],
    [
      'a list that does not parse',
      'tags',
      { text: '[a' },
      'the input `tags` does not parse as YAML or JSON: Flow sequence must end with a ]',
    ],
    [
      'a recipe without edits',
      'recipes',
      { text: '[{ name: r }]' },
      'the input `recipes` is not a Recipe at `[0].edits`: Invalid input: expected array, received undefined',
    ],
    [
      'a value of another type',
      'limits',
      { value: { a: 'x' } },
      'the input `limits` takes number at `a`, not `x`',
    ],
    [
      'a list that is nested without end',
      'tags',
      { text: '['.repeat(500_000) },
      'the input `tags` is nested too deeply to be read',
    ],
    [
      'a text with a NUL',
      'tags',
      { text: '["a\\0"]' },
      'the input `tags` holds the character NUL at `[0]`, which no program can be given',
    ],
    ['nothing at all', 'tags', { value: null }, 'the input `tags` takes list<string>, not nothing'],
    [
      'a text that is too long',
      'tags',
      { text: 'x'.repeat(600_000) },
      'the input `tags` is 600000 characters long; a whole plan is at most 524288 bytes',
    ],
    [
      'an alias bomb',
      'tags',
      {
        text: `[&a [x], ${'&b [*a, *a], '.repeat(1)}${Array.from({ length: 60 }, () => '*b').join(', ')}]`,
      },
      'the input `tags` does not parse as YAML or JSON: Excessive alias count indicates a resource exhaustion attack',
    ],
  ])('refuses %s', (_title, name, given, message) => {
    const { plan, diagnostics } = bind({ task: { text: 'a' }, [name]: given });
    expect(plan).toBeNull();
    expect(diagnostics.map((one) => one.message)).toEqual([message]);
  });

  it.each([
    ['recipes', "--input recipes='[{ name: …, edits: … }]'"],
    ['limits', "--input limits='{ key: 0.5 }'"],
    ['tags', "--input tags='[a, b]'"],
  ])('shows how to give %s, quoted for a shell', (name, given) => {
    const { diagnostics } = bind({ task: { text: 'a' }, [name]: { value: null } });
    expect(diagnostics[0]?.hint).toBe(`give it with \`${given}\``);
  });

  it('refuses a plan that is too large to be started', () => {
    const { plan, diagnostics } = bind({
      task: { value: 'x'.repeat(520_000) },
      mode: { value: 'slow' },
      tags: { value: ['y'.repeat(10_000)] },
    });
    expect(plan).toBeNull();
    expect(diagnostics.map(({ code }) => code)).toEqual(['PLAN_TOO_LARGE']);
  });

  it('tells all mistakes of the inputs at once, in the order of the declarations', () => {
    const { diagnostics } = bind({
      wait: { text: 'soon' },
      count: { text: 'x' },
      nobody: { text: 'y' },
    });
    expect(diagnostics.map(({ code, line }) => [code, line])).toEqual([
      ['INPUT_UNKNOWN', 2],
      ['INPUT_MISSING', 3],
      ['INPUT_INVALID', 4],
      ['INPUT_INVALID', 7],
    ]);
  });
});
