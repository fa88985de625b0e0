import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { STEP_TYPES } from '../activities/registry.js';
import { RULE_WORDS } from '../cli/rehearsal/rehearsal-file.js';
import { compilePipeline } from '../compiler/compile.js';
import { printDiagnostic } from '../compiler/diagnostic.js';
import { compileRehearsalFile, type CompiledRehearsal } from './rehearsal-file.js';
import { brokenRules, type RehearsedRun } from './rehearsal-rules.js';

const root = join(import.meta.dirname, '..');

function compile(content: string | Uint8Array, pipelineText: string): CompiledRehearsal {
  const { pipeline, source, diagnostics } = compilePipeline(pipelineText, 'a.yaml', STEP_TYPES);
  if (pipeline === null) throw new Error(diagnostics.map(({ message }) => message).join('\n'));
  const known = { pipeline, source, signatures: STEP_TYPES, words: RULE_WORDS };
  return compileRehearsalFile(content, 'a.rehearse.yaml', known);
}

function print(content: string | Uint8Array, pipelineText = PIPELINE): string {
  const { diagnostics, source } = compile(content, pipelineText);
  return diagnostics.map((one) => `${printDiagnostic(one, source)}\n`).join('\n');
}

/** One of each kind that can be stood in for. */
const PIPELINE = `
pipeline: a
inputs:
  address: { type: string }
  names: { type: list<string>, default: [x] }
steps:
  - id: asked
    approve:
      summary: May it?
      fields: { lane: { one_of: [fast, slow] }, note: { type: string, default: none } }
  - id: pause
    wait: 8h
  - id: each
    foreach: inputs.names
    as: name
    collect: steps.told.outputs.text
    steps:
      - id: told
        uses: process.run
        with: { command: 'echo \${{ name }} \${{ steps.asked.lane }}', outputs: { text: string } }
  - id: act
    uses: process.run
    with: { command: 'echo \${{ inputs.address }}', outputs: { count: int } }
outputs: { count: '\${{ steps.act.outputs.count }}' }
`;

const INPUTS = "inputs: { address: '${coordinator}' }\n";

describe('a rehearsal file', () => {
  it('has all of its mistakes told at once, each at its place', () => {
    const folder = join(root, 'test/fixtures/testing');
    const text = readFileSync(join(folder, 'mistakes.rehearse.yaml'));
    const printed = print(text, readFileSync(join(root, 'pipelines/frontier-round.yaml'), 'utf8'));
    const expectation = join(folder, 'mistakes.rehearse.txt');
    if (process.env['UPDATE_CORPUS'] === '1') writeFileSync(expectation, printed);
    expect(printed).toBe(readFileSync(expectation, 'utf8'));
  });

  it('may hold what it says of each kind of step, and gives it as the run would have', () => {
    const text = `${INPUTS}steps:
  asked: { lane: fast }
  pause: {}
  each: { results: [a, b], failures: [] }
  act:
    exit_code: 0
    log: { uri: 'store:x', sha256: ${'a'.repeat(64)}, sizeBytes: 1 }
    outputs: { count: 3 }
rules:
  once: size(programs) <= 1
limit: 90s
`;
    expect(print(text)).toBe('');
    const { rehearsal } = compile(text, PIPELINE);
    expect(rehearsal?.inputs).toEqual({ address: '${coordinator}' });
    expect(rehearsal?.limitMs).toBe(90_000);
    expect(rehearsal?.standIns).toMatchObject([
      {
        path: 'asked',
        uses: 'approve',
        outputs: { lane: 'fast', note: 'none', approvals: [], digest: '' },
      },
      { path: 'pause', uses: 'wait', outputs: {} },
      { path: 'each', uses: 'foreach', outputs: { results: ['a', 'b'], failures: [] } },
      { path: 'act', uses: 'process.run', outputs: { outputs: { count: 3 } } },
    ]);
    expect(compile(INPUTS, PIPELINE).rehearsal?.limitMs).toBe(180_000);
  });

  it.each([
    ['steps: { asked: {} }', 'needs the member `lane`'],
    ['steps: { asked: { lane: mid } }', '`asked.lane` takes one of "fast", "slow"'],
    ['steps: { pause: { a: 1 } }', 'has no member `a`'],
    ['steps: { each: { results: [1], failures: [] } }', '`each.results[0]` takes string'],
    ['steps: { told: { text: a } }', 'say what the whole block gives: `each: …`'],
    ['steps: { act: { outputs: { count: many } } }', '`act.outputs.count` takes int'],
    ['steps: { act: { exit_code: 0, outputs: { count: 1 } } }', 'needs the member `log`'],
    ["steps: { pause: { a: '${{ run.id }}' } }", 'values of a rehearsal are plain'],
    ['steps: [act]', '`steps` is a map'],
    ["rules: ['true']", '`rules` is a map'],
    ['limit: 2d', '`limit` is at most a day'],
    ['limit: 0s', '[DURATION_INVALID]'],
    ["rules: { a: 'status = 1' }", '[EXPRESSION_SYNTAX]'],
    ["rules: { a: 'starts.act == 1' }", 'there is no `starts` here'],
  ])('is refused with %s', (part, message) => {
    expect(print(`${INPUTS}${part}\n`)).toContain(message);
  });

  it('is refused whatever else it holds, without a crash', () => {
    expect(print('')).toContain('a rehearsal file needs at least `inputs:`');
    expect(print('- a\n')).toContain('a rehearsal file is a map');
    expect(print(Uint8Array.of(0xff, 0xfe, 0xfd))).toContain('FILE_');
    expect(print('inputs: {a: [\n')).toContain('[YAML_SYNTAX]');
    expect(print("inputs: { address: '${{ values.x }}' }\n")).toContain('are plain');
    expect(print('inputs: &a { address: x, more: *a }\n')).not.toBe('');
    const deep = `rules: { a: ${'('.repeat(2_000)}true${')'.repeat(2_000)} }\n`;
    expect(print(`${INPUTS}${deep}`)).not.toBe('');
  });
});

const RUN: RehearsedRun = {
  inputs: { address: 'http://127.0.0.1:1' },
  status: 'failed',
  error: { code: 'PROGRAM_FAILED', message: 'It ended with 1.', step: 'act' },
  outputs: {},
  steps: [
    { path: 'asked', status: 'succeeded', startedAt: 'a', endedAt: 'b' },
    { path: 'each', status: 'succeeded', startedAt: 'a', endedAt: 'b' },
    { path: 'each#0', status: 'succeeded', startedAt: 'a', endedAt: 'b' },
    { path: 'each#0/told', status: 'succeeded', startedAt: 'a', endedAt: 'b' },
    { path: 'act', status: 'failed', startedAt: 'a', endedAt: 'b' },
    { path: 'pause', status: 'pending' },
  ],
  faults: ['kill_worker'],
  claims: [{ id: 'c1', status: 'active' }],
  submissions: [{ id: 's1', claimId: null, taskId: 't1', path: 'act', passed: false }],
  effects: [{ path: 'each#0/told', what: 'claim', settled: true, alarms: [] }],
  programs: [{ path: 'each#0/told', ended: true, failed: false }],
  counted: { paid: 2 },
};

describe('rules', () => {
  const broken = (rule: string): string[] => {
    const { rehearsal, diagnostics } = compile(
      `${INPUTS}rules: { mine: ${JSON.stringify(rule)} }\n`,
      PIPELINE,
    );
    if (rehearsal === null) throw new Error(diagnostics.map(({ message }) => message).join('\n'));
    return brokenRules(rehearsal.rules, rehearsal.names, RUN).map(
      ({ rule: name, message }) => `${name}: ${message}`,
    );
  };

  it.each([
    "status == 'failed' && error.code == 'PROGRAM_FAILED' && error.step == 'act'",
    "'kill_worker' in faults && !('expire_claims' in faults)",
    "claims.all(c, c.status == 'active') && size(claims) == 1",
    "submissions.exists(s, s.step == 'act' && s.path == 'act' && s.task == 't1' && s.claim == '')",
    "effects.all(e, e.step == 'told' && e.path == 'each#0/told' && e.settled)",
    "size(programs.filter(p, p.step == 'told' && p.ended && !p.failed)) == 1",
    "counted.exists(c, c.name == 'paid' && c.times == 2)",
    "ran.told && ran['each#0/told'] && !ran.pause && ran.act && states.pause == 'pending'",
    "inputs.address.startsWith('http') && size(inputs.names) >= 0 || true",
    "status != 'succeeded' || outputs.count > 1",
  ])('hold: %s', (rule) => {
    expect(broken(rule)).toEqual([]);
  });

  it.each([
    ['size(claims) == 0', 'mine: It is not so that size(claims) == 0 (size(claims) is 1).'],
    [
      "counted.all(c, c.times <= 1) && status == 'failed'",
      'mine: It is not so that counted.all(c, c.times <= 1) && status == \'failed\' (counted.all(c, (c.times <= 1)) is false; counted is [{"name":"paid","times":2}]).',
    ],
    [
      'outputs.count > 1',
      'mine: It cannot be told whether outputs.count > 1: there is no member `count`',
    ],
  ])('are broken: %s', (rule, message) => {
    expect(broken(rule)).toEqual([expect.stringContaining(message)]);
  });
});
