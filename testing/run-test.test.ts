import { describe, expect, it } from 'vitest';
import { STEP_TYPES } from '../activities/registry.js';
import type { PipelineFiles } from '../compiler/pipeline-files.js';
import { compileTestFile, type ReadNamedFile } from './compile-test-file.js';
import { printFailedTest } from './report.js';
import { runTest, type TestResult } from './run-test.js';

const log = "{ uri: 'store:a', sha256: '" + 'a'.repeat(64) + "', sizeBytes: 1 }";

/** Outputs of a `process.run`. */
const gives = (outputs: string): string => `{ exit_code: 0, outputs: ${outputs}, log: ${log} }`;

/** Runs the only test of a file against a pipeline with these steps. */
async function run(
  steps: string,
  test: string,
  head = '',
  called?: PipelineFiles,
): Promise<TestResult & { printed: string; statusAndCode: string }> {
  const pipeline = `pipeline: sample\n${head}steps:\n${indent(steps, 2)}`;
  const file = `pipeline: ./sample.yaml\ntests:\n  - name: it\n${indent(test, 4)}`;
  const read = (): ReturnType<ReadNamedFile> => ({
    file: 'sample.yaml',
    content: new TextEncoder().encode(pipeline),
  });
  const compiled = compileTestFile(file, 'sample.test.yaml', STEP_TYPES, read, called);
  expect(compiled.mistakes.flatMap(({ diagnostics }) => diagnostics)).toEqual([]);
  const [only] = compiled.file!.tests;
  const result = await runTest(compiled.file!, only!);
  const printed = printFailedTest(result, compiled.source);
  const { result: ended } = result;
  return {
    ...result,
    printed,
    statusAndCode: `${ended?.status} ${ended?.error?.code ?? ''}`.trim(),
  };
}

function indent(text: string, by: number): string {
  return text
    .trim()
    .split('\n')
    .map((line) => `${' '.repeat(by)}${line}\n`)
    .join('');
}

const step = (id: string, more = ''): string =>
  `- { id: ${id}, uses: process.run, with: { command: x } ${more} }`;

describe('a test of a pipeline', () => {
  it('ends what the limits of the file end: a `finally` that is too long, a run behind its deadline', async () => {
    const steps = `- try:\n    - { id: a, uses: process.run, with: { command: x } }\n  finally_timeout: 1m\n  finally:\n    - { id: b, uses: process.run, with: { command: x } }`;
    const slow = `{ delay: 2m, outputs: ${gives('{}')} }`;
    const quick = `{ outputs: ${gives('{}')} }`;
    const tooLong = await run(steps, `steps: { a: ${quick}, b: ${slow} }\nexpect: ['true']`);
    expect(tooLong.statusAndCode).toBe('failed FINALLY_TIMEOUT');
    const late = await run(
      steps,
      `steps: { a: ${slow}, b: ${quick} }\nexpect: [ran.b, seconds == 90]`,
      'deadline: 90s\n',
    );
    expect(late.statusAndCode).toBe('failed RUN_DEADLINE');
    expect(late.failures).toEqual([]);
  });

  it('passes when all that it expects is so', async () => {
    const result = await run(
      step('a'),
      `steps: { a: { outputs: ${gives('{}')} } }\nexpect: [status == 'succeeded', ran.a && starts.a == 1]`,
    );
    expect(result.failures).toEqual([]);
    expect(result.order).toEqual(['a']);
  });

  it('fails with each assertion that is not so, at its place, with the values of its parts', async () => {
    const { failures, printed } = await run(
      step('a'),
      `steps: { a: { error: PROGRAM_KILLED, message: gone } }\nexpect:\n  - status == 'succeeded' && starts.a == 1\n  - starts.a == 1\n  - steps.a.exit_code == 0`,
    );
    expect(failures.map(({ kind, message }) => [kind, message])).toEqual([
      ['assertion', "it is not so that status == 'succeeded' && starts.a == 1"],
      ['assertion', 'it cannot be told whether steps.a.exit_code == 0: there is no member `a`'],
    ]);
    expect(printed).toContain('sample.test.yaml:6:9: error:');
    expect(printed).toContain('= status is "failed"');
    expect(printed).toContain('the run ended as failed at a: PROGRAM_KILLED: gone');
    expect(printed).toMatch(/^ {4}a {2}failed {5}PROGRAM_KILLED: gone$/m);
  });

  it('gives outcomes in turn to the starts of a step, with the pauses between them', async () => {
    const { failures } = await run(
      step('a'),
      `steps: { a: [{ error: PROGRAM_FAILED }, { delay: 1m, error: PROGRAM_FAILED }, { outputs: ${gives('{}')} }] }
expect: [status == 'succeeded', starts.a == 3, seconds == 66]`,
    );
    expect(failures).toEqual([]);
  });

  it('fails when a step is started once more than its list has outcomes', async () => {
    const { printed } = await run(
      step('a'),
      `steps: { a: [{ error: PROGRAM_FAILED }] }\nexpect: [status == 'failed']`,
    );
    expect(printed).toContain('the step `a` was started once more (start 2) than its 1 outcome');
  });

  it('fails when a step starts of which nothing is said, and shows what to write', async () => {
    const { failures, printed } = await run(
      `- { id: each, foreach: '[1, 2]', steps: [{ id: one, uses: workspace.fork, with: { workspace: '\${{ inputs.w }}' } }] }`,
      `inputs: { w: { queue: q, path: /, commit: ${'a'.repeat(40)}, tree: ${'a'.repeat(40)} } }\nexpect: [status == 'failed']`,
      'inputs: { w: { type: Workspace } }\n',
    );
    expect(failures).toHaveLength(1);
    expect(printed).toContain(
      'the step `each#0/one` (workspace.fork) was started, and nothing says what it gives',
    );
    expect(printed).toContain(
      'one: { outputs: { workspace: { queue: …, path: …, commit: …, tree: … } } }',
    );
  });

  it('fails when a stub or a decision of its own is never used', async () => {
    const { printed } = await run(
      `${step('a')}\n- { id: b, if: run.id == 'no', uses: process.run, with: { command: x } }`,
      `steps: { a: [{ outputs: ${gives('{}')} }, { error: PROGRAM_LOST }], b: { error: PROGRAM_LOST } }\ndecisions: { a: retry }\nexpect: [status == 'succeeded']`,
    );
    expect(printed).toContain('`a` was started once, and there are 2 outcomes');
    expect(printed).toContain('`b` was never started, so this says nothing');
    expect(printed).toContain('`a` was never parked, so this says nothing');
  });

  it('fails, and does not hang, when nobody decides about a parked step', async () => {
    const { printed, result } = await run(
      step('a', ', on_failure: ask'),
      `steps: { a: { error: PROGRAM_KILLED } }\nexpect: [status == 'failed']`,
    );
    expect(result).toBeNull();
    expect(printed).toContain('the run waits for a decision about `a`, and the test gives none');
    expect(printed).toContain('it is parked with PROGRAM_KILLED');
    expect(printed).toMatch(/a {2}parked/);
  });

  it('gives decisions in turn, and after their time', async () => {
    const { failures } = await run(
      step('a', ', on_failure: ask'),
      `steps: { a: [{ error: PROGRAM_KILLED }, { error: PROGRAM_KILLED }] }
decisions: { a: [{ decide: retry, after: 2h }, { value: ${gives('{}')}, after: 1h }] }
expect: [status == 'succeeded', starts.a == 2, seconds == 3 * 3600]`,
    );
    expect(failures).toEqual([]);
  });

  it('gives the answers of people to an approval, and refuses those that would not count', async () => {
    const ask = `- id: ask
  approve: { summary: Go on?, show: { n: 1 }, fields: { lane: { one_of: [fast, slow] } }, quorum: 2, expires: 1d }`;
    const both = await run(
      ask,
      `approvals: { ask: [{ approve: { lane: fast }, by: ann }, { approve: { lane: fast }, by: bob, after: 2h }] }
expect: [steps.ask.lane == 'fast', size(steps.ask.approvals) == 2, seconds == 7200, shown.ask.n == 1]`,
    );
    expect(both.failures).toEqual([]);
    const twice = await run(
      ask,
      `approvals: { ask: [{ approve: { lane: fast }, by: ann }, { approve: { lane: fast }, by: ann }] }\nexpect: ['true']`,
    );
    expect(twice.printed).toContain('ann has approved ask already');
    const nobody = await run(ask, `expect: [seconds == 86400]`);
    expect(nobody.statusAndCode).toBe('stopped APPROVAL_EXPIRED');
    expect(nobody.failures).toEqual([]);
    const no = await run(ask, `approvals: { ask: { reject: not now } }\nexpect: ['true']`);
    expect(no.statusAndCode).toBe('stopped APPROVAL_REJECTED');
    const endless = await run(`- approve: Go on?`, `expect: ['true']`);
    expect(endless.printed).toContain('waits for');
  });

  it('fails when an answer of its own is left over, or nobody answers what waits without end', async () => {
    const ask = `- { id: ask, approve: { summary: Go on?, fields: { n: { type: int } }, quorum: 2 } }`;
    const nobody = await run(
      ask,
      `approvals: { ask: [{ approve: { n: 1 }, by: ann }] }\nexpect: ['true']`,
    );
    expect(nobody.result).toBeNull();
    expect(nobody.printed).toContain('it has 1 of 2, and without `expires` it waits without end');
    expect(nobody.printed).toContain(
      'add to `approvals`: `ask: [{ approve: { n: … }, by: person-1 }, { approve: { n: … }, by: person-2 }]`, or `reject`',
    );
    const left = await run(ask, `approvals: { ask: [reject, reject] }\nexpect: ['true']`);
    expect(left.printed).toContain('`ask` was answered once, and there are 2 answers');
    const one = await run(
      `- { id: ask, approve: { summary: Go on?, quorum: 2, expires: 1d } }`,
      `approvals: { ask: approve }\nexpect: [error.message.contains('1 of 2'), seconds == 86400]`,
    );
    expect(one.failures).toEqual([]);
    const skipped = await run(
      `- { id: ask, if: run.id == 'no', approve: Go on? }`,
      `approvals: { ask: approve }\nexpect: ['true']`,
    );
    expect(skipped.printed).toContain('`ask` was never asked, so this says nothing');
    expect(skipped.printed).toContain('[APPROVAL]');
  });

  it('gives each item of a `foreach` the answers from the head, and iterations of a `repeat` one after the other', async () => {
    const items = await run(
      `- { id: each, foreach: '[1, 2]', limit: 2, steps: [{ id: ask, approve: Go on? }] }`,
      `approvals: { 'each#1/ask': { reject, after: 2h }, ask: [{ approve, after: 1h }] }
expect: [error.step == 'each#1/ask', "states['each#0/ask'] == 'succeeded'", seconds == 7200]`,
    );
    expect(items.failures).toEqual([]);
    const turns = await run(
      `- { id: again, repeat: { limit: 2 }, steps: [{ id: ask, approve: Go on? }] }`,
      `approvals: { ask: [{ approve, after: 1h }, { reject: no more }] }
expect: [error.step == 'again#1/ask', error.message.contains('no more'), seconds == 3600]`,
    );
    expect(turns.failures).toEqual([]);
  });

  it('runs the files that a pipeline calls in place, their steps named by path, or by an id that no file above has', async () => {
    const content = new TextEncoder().encode(
      'pipeline: gate\nsteps:\n  - { id: a, uses: process.run, with: { command: x } }\n  - { id: ask, approve: Go on? }\noutputs: { code: "${{ steps.a.exit_code }}" }\n',
    );
    const called: PipelineFiles = {
      identify: (file) => file,
      read: (name) => ({ identity: name, file: name, content, sha256: 'a'.repeat(64) }),
    };
    const steps = `- { id: one, pipeline: ./gate.yaml }\n- { id: two, pipeline: ./gate.yaml }\n- { id: last, parallel: [${step('a').slice(2)}] }`;
    const of = (code: number): string => gives('{}').replace('exit_code: 0', `exit_code: ${code}`);
    const { failures } = await run(
      steps,
      `steps: { a: { outputs: ${of(0)} }, one/a: { outputs: ${of(1)} }, two/a: { outputs: ${of(2)} } }
approvals: { ask: approve, two/ask: { approve, by: bob } }
expect: [status == 'succeeded', steps.one.code == 1 && steps.two.code == 2, starts.a == 1, "starts['two/a'] == 1", "order == ['one/a', 'two/a', 'last/a']", ran.ask]`,
      '',
      called,
    );
    expect(failures).toEqual([]);
    const unsaid = await run(
      steps,
      `steps: { a: { outputs: ${of(0)} } }\nexpect: ['true']`,
      '',
      called,
    );
    expect(unsaid.printed).toContain('one/a: { outputs: {');
  });

  it('fails when a run goes round in circles', async () => {
    const { printed } = await run(
      step('a', ', on_failure: ask'),
      `steps: { a: { error: PROGRAM_KILLED } }\ndecisions: { a: retry }\nexpect: [status == 'failed']`,
    );
    expect(printed).toContain('the run goes round in circles');
  });

  it('lets days pass in no time: waits, pauses of `every`, timeouts', async () => {
    const { failures } = await run(
      `- wait: 3d
- { id: looks, repeat: { limit: 5, every: 1h, until: steps.look.outputs.done }, steps: [{ id: look, uses: process.run, with: { command: x, outputs: { done: bool } } }] }
- { wait: { until: '2026-02-01T00:00:00Z' } }
- { id: late, uses: round.preflight, timeout: 10m }`,
      `steps:
  look: [{ outputs: ${gives('{ done: false }')} }, { delay: 20m, outputs: ${gives('{ done: false }')} }, { outputs: ${gives('{ done: true }')} }]
  late: { delay: 2d, outputs: { hotkey: a, coordinator: a, recipient: a, checks: [] } }
now: '2026-01-10T00:00:00Z'
expect:
  - error.code == 'STEP_TIMEOUT' && error.step == 'late'
  - steps.looks.iterations == 3
  - seconds == 22 * 24 * 3600 + 600`,
    );
    expect(failures).toEqual([]);
  });

  it('bounds a program by its run time over all starts, and one start by `attempt_timeout`', async () => {
    const total = await run(
      step('a', ', timeout: 1h'),
      `steps: { a: [{ delay: 40m, error: PROGRAM_LOST }, { delay: 40m, outputs: ${gives('{}')} }] }\nexpect: [seconds == 3601]`,
    );
    expect(total.statusAndCode).toBe('failed PROGRAM_TIMEOUT');
    expect(total.failures).toEqual([]);
    const attempt = await run(
      step('a', ', timeout: 1h, attempt_timeout: 10m, retry: { attempts: 2, first: 1s }'),
      `steps: { a: [{ delay: 11m, outputs: ${gives('{}')} }, { outputs: ${gives('{}')} }] }\nexpect: [starts.a == 2, seconds == 601]`,
    );
    expect(attempt.statusAndCode).toBe('succeeded');
    expect(attempt.failures).toEqual([]);
  });

  it('lets items side by side go by their delays, again and again in the same order', async () => {
    const steps = `- { id: each, foreach: '[3, 1, 2]', limit: 3, steps: [{ id: one, uses: process.run, with: { command: '\${{ string(item) }}' } }, { id: two, uses: process.run, with: { command: x } }] }`;
    const test = `steps:
  'each#0/one': { delay: 3m, outputs: ${gives('{}')} }
  'each#1/one': { delay: 1m, outputs: ${gives('{}')} }
  one: { delay: 2m, outputs: ${gives('{}')} }
  two: { outputs: ${gives('{}')} }
expect:
  - order == ['each#0/one', 'each#1/one', 'each#2/one', 'each#1/two', 'each#2/two', 'each#0/two']`;
    for (let turn = 0; turn < 3; turn += 1) expect((await run(steps, test)).failures).toEqual([]);
  });

  it('cancels what is beside a failure, and nothing else', async () => {
    const { failures } = await run(
      `- try:
    - parallel:
        - { id: bad, uses: process.run, with: { command: x } }
        - try: [{ id: long, uses: process.run, with: { command: x } }]
          finally: [{ id: tidy, uses: process.run, with: { command: x } }]
  catch: [{ errors: [PROGRAM_KILLED], as: why, steps: [{ id: mended, uses: process.run, with: { command: '\${{ why.step }}' } }] }]`,
      `steps:
  bad: { delay: 1m, error: PROGRAM_KILLED }
  long: { delay: 1h, outputs: ${gives('{}')} }
  tidy: { delay: 1m, outputs: ${gives('{}')} }
  mended: { outputs: ${gives('{}')} }
expect: [status == 'succeeded', states.long == 'cancelled', states.tidy == 'succeeded', ran.mended, seconds == 120]`,
    );
    expect(failures).toEqual([]);
  });

  it('tells of what was cancelled before its beginning that it did not run', async () => {
    const within = (id: string, steps: string): string =>
      `- id: ${id}\n  try:\n${indent(steps, 4)}  catch: [{ errors: [PROGRAM_LOST], steps: [${step(`${id}_2`).slice(2)}] }]`;
    const steps = `- parallel:\n${indent(
      [
        step('a'),
        within('b', ['c', 'd', 'd_2', 'e'].map((id) => step(id)).join('\n')),
        within('f', `${step('g')}\n- { id: h, wait: 10m }`),
        within('i', `- { id: j, wait: 10m }`),
      ].join('\n'),
      4,
    )}`;
    // `e` has no outcome: were it started, the test would fail.
    const given = ['c', 'd', 'd_2', 'g'].map((id) => `${id}: { outputs: ${gives('{}')} }`);
    const result = await run(
      steps,
      `steps: { a: { error: PROGRAM_KILLED }, ${given.join(', ')} }\nexpect: ['ran.b && ran.c && ran.f && ran.g', "states.e == 'cancelled' && starts.e == 0", '!ran.e', "states.h == 'cancelled'", '!ran.h']`,
    );
    expect(result.failures).toEqual([]);
  });

  it('cancels the run at a moment; `finally` runs', async () => {
    const { failures } = await run(
      `- { try: [{ id: long, uses: process.run, with: { command: x } }], finally: [{ id: tidy, uses: process.run, with: { command: x } }] }
${step('after')}`,
      `steps: { long: { delay: 1h, outputs: ${gives('{}')} }, tidy: { delay: 5m, outputs: ${gives('{}')} } }
cancel: 30m
expect: [status == 'cancelled', ran.tidy && !ran.after, states.after == 'pending', seconds == 2100, error.code == '']`,
    );
    expect(failures).toEqual([]);
  });

  it('lets the clock of a person run out where an error asks only so long', async () => {
    const { failures } = await run(
      step('a', ', on_failure: ask'),
      `steps: { a: { error: PROGRAM_KILLED, ask_for: 10m } }\nexpect: [status == 'failed', seconds == 600]`,
    );
    expect(failures).toEqual([]);
  });

  it('ends a step as in a run when its input is none that the step type takes', async () => {
    const { statusAndCode } = await run(
      `- { id: a, uses: process.run, with: { command: '\${{ inputs.command }}' } }`,
      `inputs: { command: '' }\nsteps: { a: { outputs: ${gives('{}')} } }\nexpect: [status == 'failed']`,
      'inputs: { command: { type: string } }\n',
    );
    expect(statusAndCode).toBe('failed STEP_INPUT_INVALID');
  });

  it('computes outputs from the input of the step, and refuses what comes of it when no step gives it', async () => {
    const steps = `- { id: a, uses: process.run, with: { command: '7', outputs: { n: int } } }\n- { id: b, uses: process.run, with: { command: '\${{ string(steps.a.outputs.n) }}' } }`;
    const good = await run(
      steps,
      `steps: { a: { outputs: ${gives("{ n: '${{ int(input.command) + start }}' }")} }, b: { outputs: ${gives('{}')} } }\nexpect: [steps.a.outputs.n == 8]`,
    );
    expect(good.failures).toEqual([]);
    const bad = await run(
      steps,
      `steps: { a: { outputs: { exit_code: '\${{ input.command }}', outputs: { n: 1 }, log: ${log} } } }\nexpect: [status == 'failed']`.replace(
        "'${{ input.command }}'",
        "'${{ 1 / (start - 1) }}'",
      ),
    );
    expect(bad.printed).toContain('the outputs of `a` cannot be computed');
  });
});

it('takes ids that every object knows for the steps that they name', async () => {
  const { failures } = await run(
    `${step('constructor')}\n- { id: valueOf, if: run.id == 'no', uses: process.run, with: { command: x } }`,
    `steps: { constructor: { outputs: ${gives('{}')} } }
expect: [starts.constructor == 1 && ran.constructor, starts.valueOf == 0, states.valueOf == 'skipped', steps.constructor.exit_code == 0]`,
  );
  expect(failures).toEqual([]);
});
