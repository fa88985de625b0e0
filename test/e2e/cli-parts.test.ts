/**
 * The commands and the parts of a run, on a real server: sub-pipelines and blocks that moved out, whose own histories
 * grew long and began anew. Whatever a person says to the run reaches the part that it is about.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest';
import { StepError } from '../../core/error.js';
import type { ApproveStep, Plan, PlanStep, TryStep } from '../../core/plan.js';
import { partId } from '../../workflows/contract.js';
import { adit } from '../support/cli.js';
import { callOf, expr, input, lit, output, planOf, stepMaker } from '../support/plan-makers.js';
import {
  openRuns,
  type Behaviour,
  type Runs,
  type TestActivities,
} from '../support/workflow-runs.js';

const step = stepMaker({
  timeoutMs: 120_000,
  heartbeatMs: 30_000,
  retry: { attempts: 1, firstMs: 10, factor: 1, mostMs: 10, never: [] },
});
const asks = step('asks', { options: { ...step('asks').options, onFailure: 'ask' } });

/** A step with an input of 500 KB: a server suggests a new history after 4 MiB. */
const large = (id: string, ...more: PlanWith[]): PlanStep =>
  step(id, { with: [...more, ['text', { t: 'text', parts: [input('text'), input('text')] }]] });
type PlanWith = ReturnType<typeof step>['with'][number];

const chain = (count: number): PlanStep[] =>
  Array.from({ length: count }, (_one, index) => large(`s${index}`));

const approval = (id: string, fields: ApproveStep['fields'] = []): ApproveStep => ({
  kind: 'approve',
  id,
  key: id,
  summary: lit('Go on?'),
  show: [],
  fields,
  quorum: 1,
  expires: lit('1h'),
});

const guard: TryStep = {
  kind: 'try',
  key: 'guard',
  steps: [step('holds')],
  finally: [step('clean')],
  finallyTimeoutMs: 3_600_000,
};

/** Calls a file of these steps, with the text that makes them large. */
const partOf = (steps: readonly PlanStep[], outputs: Plan['outputs'] = []): PlanStep =>
  callOf(
    'sub',
    steps,
    { inputs: [{ name: 'text' }], outputs },
    { with: [['text', expr(input('text'))]] },
  );

const largePlan = (...steps: PlanStep[]): Plan => ({
  ...planOf(...steps),
  inputs: { text: 'x'.repeat(250_000) },
});

let runs: Runs;

beforeAll(async () => {
  runs = await openRuns(inject('temporal').address);
});

afterAll(() => runs.close());

async function json(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await adit([...args, '--json'], {
    stateDir: runs.folder,
    env: { TEMPORAL_ADDRESS: inject('temporal').address },
  });
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** Waits until what is asked for is as `wanted`; in tests beside each other `expect.poll` is not to be had. */
function becomes(ask: () => Promise<unknown>, wanted: object): Promise<void> {
  return vi.waitFor(async () => expect(await ask()).toMatchObject(wanted), {
    timeout: 60_000,
    interval: 500,
  });
}

/** Waits until a command answers as `wanted`. */
function untilAnswer(args: readonly string[], wanted: object): Promise<void> {
  return becomes(() => json(...args), wanted);
}

/** Each step with its status, of a run as `adit show` shows it. */
async function shown(runId: string): Promise<Record<string, string>> {
  const { steps } = (await json('show', runId)) as { steps: { path: string; status: string }[] };
  return Object.fromEntries(steps.map(({ path, status }) => [path, status]));
}

/** Number of executions of a workflow, which begin one after the other. */
async function executions(workflowId: string): Promise<number> {
  const first = runs.client.workflow.getHandle(workflowId);
  let runId = (await first.describe()).runId;
  let count = 0;
  while (runId !== '') {
    count += 1;
    const { events } = await runs.client.workflowService
      .getWorkflowExecutionHistory({
        namespace: runs.client.options.namespace,
        execution: { workflowId, runId },
        maximumPageSize: 1,
      })
      .then(({ history }) => ({ events: history?.events }));
    runId = events?.[0]?.workflowExecutionStartedEventAttributes?.continuedExecutionRunId ?? '';
  }
  return count;
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error));
  });
}

/** `holds`, `long` and `clean` go on until they are cancelled; `asks` fails at its first start. */
const behaviour: Behaviour = async ({ n }, { call: { path, start }, signal }) => {
  const name = path.slice(path.lastIndexOf('/') + 1);
  if (name === 'holds' || name === 'long' || name === 'clean') return aborted(signal);
  if (name === 'asks' && start === 1) throw new StepError('DISK_FULL', 'The disk is full.');
  return { n: typeof n === 'number' ? n + 1 : 0 };
};

/** Cancels a run whose `path/guard/holds` is under way, and then what its `finally` does. */
async function cancelByForce(runId: string, path: string): Promise<void> {
  await becomes(() => shown(runId), { [`${path}/guard/holds`]: 'running' });
  expect(await json('cancel', runId)).toMatchObject({ requested: true, forced: false });
  await becomes(() => shown(runId), {
    [`${path}/guard/holds`]: 'cancelled',
    [`${path}/guard/finally/clean`]: 'running',
  });
  expect(await json('cancel', runId, '--force')).toMatchObject({ requested: true, forced: true });
  await untilAnswer(['show', runId], { status: 'cancelled' });
  expect(await shown(runId)).toMatchObject({
    [`${path}/guard`]: 'cancelled',
    [`${path}/guard/finally/clean`]: 'cancelled',
  });
}

test.concurrent(
  'a sub-pipeline goes on with a new history: it is shown, answered and ends as one',
  async () => {
    const lane = { name: 'lane', type: { kind: 'string' }, summary: '', required: true } as const;
    const sub = partOf(
      [
        large('first'),
        approval('early'),
        ...chain(12),
        approval('late', [lane]),
        step('last', { with: [['n', lit(41)]] }),
      ],
      [
        ['n', expr(output('last', 'n'))],
        ['lane', expr(output('late', 'lane'))],
      ],
    );
    const plan = {
      ...largePlan(sub, step('after', { with: [['n', expr(output('sub', 'n'))]] })),
      outputs: [
        ['n', expr(output('after', 'n'))],
        ['lane', expr(output('sub', 'lane'))],
      ] satisfies Plan['outputs'],
    };
    await runs.withRun({ plan, behaviour }, async ({ handle: { workflowId: runId } }) => {
      await untilAnswer(['approve', runId], { approvals: [{ runId, step: 'sub/early' }] });
      expect(await shown(runId)).toMatchObject({
        sub: 'running',
        'sub/first': 'succeeded',
        'sub/early': 'parked',
        'sub/s0': 'pending',
        after: 'pending',
      });
      expect(await json('approve', runId, 'early', '--approve', '--id', 'a1')).toMatchObject({
        step: 'sub/early',
        repeated: false,
      });
      await untilAnswer(['approve', runId], { approvals: [{ runId, step: 'sub/late' }] });
      expect(await executions(partId(runId, 'sub'))).toBeGreaterThan(1);
      expect(await executions(runId)).toBe(1);
      expect(await shown(runId)).toMatchObject({
        sub: 'running',
        'sub/first': 'succeeded',
        'sub/early': 'succeeded',
        'sub/s11': 'succeeded',
        'sub/late': 'parked',
        after: 'pending',
      });
      // Counted by the execution before.
      expect(await json('approve', runId, 'sub/early', '--approve', '--id', 'a1')).toMatchObject({
        repeated: true,
      });
      expect(
        await json('approve', runId, 'sub/late', '--approve', '--field', 'lane=fast'),
      ).toMatchObject({ approved: 1 });
      expect(await json('watch', runId)).toMatchObject({
        status: 'succeeded',
        outputs: { n: 43, lane: 'fast' },
      });
      const child = runs.client.workflow.getHandle(partId(runId, 'sub'));
      expect(await child.result()).toMatchObject({ outputs: { n: 42, lane: 'fast' } });
      expect(new Set(Object.values(await shown(runId)))).toEqual(new Set(['succeeded']));
    });
  },
);

test.concurrent(
  'a cancellation reaches a sub-pipeline that went on with a new history, and by force its `finally`',
  async () => {
    const plan = largePlan(partOf([...chain(12), asks, guard]));
    await runs.withRun({ plan, behaviour }, async ({ handle: { workflowId: runId } }) => {
      await untilAnswer(['decide', runId], { parked: [{ runId, step: 'sub/asks' }] });
      expect(await executions(partId(runId, 'sub'))).toBeGreaterThan(1);
      await json('decide', runId, 'asks', '--retry');
      await cancelByForce(runId, 'sub');
    });
  },
);

test.concurrent(
  'a block that moved out takes decisions, approvals, and a cancellation by force',
  async () => {
    // all( long, loop( look, at the 20th: asks, go, guard ) )
    const n = { op: 'name', name: 'n' } as const;
    const loop: PlanStep = {
      kind: 'repeat',
      id: 'loop',
      key: 'loop',
      limit: 30,
      as: 'n',
      steps: [
        large('look', ['n', expr(n)]),
        {
          kind: 'if',
          key: 'late',
          test: { op: 'call', fn: '_==_', args: [n, { op: 'lit', value: 20 }] },
          then: [asks, approval('go'), guard],
          else: [],
        },
      ],
    };
    const plan = largePlan({
      kind: 'parallel',
      key: 'all',
      limit: 2,
      fail: 'fast',
      branches: [
        { step: step('long'), needs: [] },
        { step: loop, needs: [] },
      ],
    });
    await runs.withRun({ plan, behaviour }, async ({ handle: { workflowId: runId } }) => {
      const at = 'all/loop#20/late/then';
      await untilAnswer(['decide', runId], { parked: [{ runId, step: `${at}/asks` }] });
      expect(await executions(partId(runId, 'all/loop'))).toBeGreaterThan(1);
      expect(await json('decide', runId, `${at}/asks`, '--retry')).toMatchObject({
        repeated: false,
      });
      await untilAnswer(['approve', runId], { approvals: [{ runId, step: `${at}/go` }] });
      expect(await json('approve', runId, 'go', '--approve')).toMatchObject({ approved: 1 });
      await cancelByForce(runId, at);
      expect(await shown(runId)).toMatchObject({
        'all/long': 'cancelled',
        'all/loop': 'cancelled',
      });
    });
  },
);

test.concurrent('a silent host is no longer waited for, also by a part of the run', async () => {
  const name = randomBytes(4).toString('hex');
  const queue = `q.host.${name}`;
  let isOver = (): void => undefined;
  const over = new Promise<void>((resolve) => {
    isOver = resolve;
  });
  const silent: TestActivities = { 'test.step': async () => over };
  const workspace = { t: 'value', value: { queue } } as const;
  const stuck = step('stuck', { with: [['workspace', workspace]], host: [['workspace']] });
  await runs.withHost(queue, silent, () =>
    runs.withRun(
      { plan: planOf(callOf('sub', [stuck])), behaviour },
      async ({ handle: { workflowId: runId } }) => {
        await becomes(() => shown(runId), { 'sub/stuck': 'running' });
        await json('cancel', runId);
        const waits = { path: 'sub/stuck', note: `cancelling, waits for host ${name}` };
        await untilAnswer(['show', runId], { steps: [{}, waits] });
        expect(await json('cancel', runId, '--abandon')).toMatchObject({ abandoned: true });
        const givenUp = { status: 'cancelled', note: `given up: host ${name} did not answer` };
        await untilAnswer(['show', runId], { status: 'cancelled', steps: [{}, givenUp] });
        isOver();
      },
    ),
  );
});
