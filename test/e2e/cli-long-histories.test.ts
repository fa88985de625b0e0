/**
 * Runs and parts of runs whose history grew long and began anew, on a real server: whatever a person says by a command
 * reaches the part that it is about, hooks are told once, and a deadline stays where it was.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest';
import { createNotifyActivity } from '../../activities/notify.js';
import { createNotifier } from '../../adapters/notify/notifier.js';
import { StepError } from '../../core/error.js';
import { NOTICE_EVENTS, type Notice } from '../../core/notice.js';
import type { ApproveStep, Plan, PlanStep, TryStep } from '../../core/plan.js';
import type { StepView } from '../../core/run-view.js';
import { NOTIFICATION_TYPE, NOTIFY_ACTIVITY, partId } from '../../workflows/contract.js';
import { adit } from '../support/cli.js';
import { createWebhookReceiver } from '../support/webhook-receiver.js';
import { callOf, expr, input, lit, output, planOf, stepMaker } from '../support/plan-makers.js';
import {
  historiesOf,
  openRuns,
  viewOf,
  type Behaviour,
  type Runs,
  type TestActivities,
} from '../support/workflow-runs.js';

const step = stepMaker({
  timeoutMs: 300_000,
  heartbeatMs: 120_000,
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

vi.setConfig({ testTimeout: 300_000 });

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
    timeout: 180_000,
    interval: 200,
  });
}

/** Waits until a step is as `wanted`, by the word of the workflow that it is in: a command would take its time. */
function untilStep(workflowId: string, path: string, wanted: Partial<StepView>): Promise<void> {
  const handle = runs.client.workflow.getHandle(workflowId);
  return becomes(async () => (await viewOf(handle)).steps.find((one) => one.path === path), wanted);
}

/** Each step with its status, of a run as `adit show` shows it. */
async function shown(runId: string): Promise<Record<string, string>> {
  const { steps } = (await json('show', runId)) as { steps: { path: string; status: string }[] };
  return Object.fromEntries(steps.map(({ path, status }) => [path, status]));
}

/** Number of executions of a workflow that went on with a new history. */
async function executions(workflowId: string): Promise<number> {
  return (await historiesOf(runs.client.workflow.getHandle(workflowId), runs.client)).length;
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

/** Cancels a run in whose `part` the step `path/guard/holds` is under way, and then what its `finally` does. */
async function cancelByForce(runId: string, part: string, path: string): Promise<void> {
  const workflowId = partId(runId, part);
  await untilStep(workflowId, `${path}/guard/holds`, { status: 'running' });
  expect(await json('cancel', runId)).toMatchObject({ requested: true, forced: false });
  await untilStep(workflowId, `${path}/guard/finally/clean`, { status: 'running' });
  expect(await json('cancel', runId, '--force')).toMatchObject({ requested: true, forced: true });
  await untilCancelled(runId);
  expect(await shown(runId)).toMatchObject({
    [part]: 'cancelled',
    [`${path}/guard`]: 'cancelled',
    [`${path}/guard/holds`]: 'cancelled',
    [`${path}/guard/finally/clean`]: 'cancelled',
  });
}

async function untilCancelled(runId: string): Promise<void> {
  const end = runs.client.workflow.getHandle(runId).result();
  await expect(end).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
}

test.concurrent(
  'a sub-pipeline goes on with a new history: it is shown, answered and ends as one',
  async () => {
    const lane = { name: 'lane', type: { kind: 'string' }, summary: '', required: true } as const;
    const sub = partOf(
      [
        large('first'),
        approval('early'),
        ...chain(10),
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
      const part = partId(runId, 'sub');
      await untilStep(part, 'sub/early', { status: 'parked' });
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
      await untilStep(part, 'sub/late', { status: 'parked' });
      expect(await json('approve', runId)).toMatchObject({
        approvals: [{ runId, step: 'sub/late' }],
      });
      expect(await executions(part)).toBeGreaterThan(1);
      expect(await executions(runId)).toBe(1);
      expect(await shown(runId)).toMatchObject({
        sub: 'running',
        'sub/first': 'succeeded',
        'sub/early': 'succeeded',
        'sub/s9': 'succeeded',
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
      const child = runs.client.workflow.getHandle(part);
      expect(await child.result()).toMatchObject({ outputs: { n: 42, lane: 'fast' } });
      expect(new Set(Object.values(await shown(runId)))).toEqual(new Set(['succeeded']));
    });
  },
);

test.concurrent(
  'a cancellation reaches a sub-pipeline that went on with a new history, and by force its `finally`',
  async () => {
    const plan = largePlan(partOf([...chain(10), asks, guard]));
    await runs.withRun({ plan, behaviour }, async ({ handle: { workflowId: runId } }) => {
      const part = partId(runId, 'sub');
      await untilStep(part, 'sub/asks', { status: 'parked' });
      expect(await executions(part)).toBeGreaterThan(1);
      expect(await json('decide', runId)).toMatchObject({ parked: [{ runId, step: 'sub/asks' }] });
      await json('decide', runId, 'asks', '--retry');
      await cancelByForce(runId, 'sub', 'sub');
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
      const part = partId(runId, 'all/loop');
      await untilStep(part, `${at}/asks`, { status: 'parked' });
      expect(await executions(part)).toBeGreaterThan(1);
      expect(await json('decide', runId, `${at}/asks`, '--retry')).toMatchObject({
        repeated: false,
      });
      await untilStep(part, `${at}/go`, { status: 'parked' });
      expect(await json('approve', runId, 'go', '--approve')).toMatchObject({ approved: 1 });
      await cancelByForce(runId, 'all/loop', at);
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
        const part = partId(runId, 'sub');
        await untilStep(part, 'sub/stuck', { status: 'running' });
        await json('cancel', runId);
        await untilStep(part, 'sub/stuck', { note: `cancelling, waits for host ${name}` });
        expect(await json('cancel', runId, '--abandon')).toMatchObject({ abandoned: true });
        const givenUp = { status: 'cancelled', note: `given up: host ${name} did not answer` };
        await untilCancelled(runId);
        expect(await json('show', runId)).toMatchObject({ steps: [{}, givenUp] });
        isOver();
      },
    ),
  );
});

test.concurrent(
  'a run that goes on with a new history tells hooks once, and ends at its first deadline',
  async () => {
    // all( asks (parked), go (waits for approval), s0 -> … -> s9 -> holds ), which its deadline ends
    const receiver = await createWebhookReceiver();
    await receiver.open();
    const { url: notifyUrl } = receiver;
    const notifier = createNotifier(
      { notifyUrl, notifySecretFile: null, notifyCommand: null, stateDir: runs.folder },
      {},
    );
    const long: PlanStep = {
      kind: 'try',
      key: 'long',
      steps: [...chain(10), step('holds')],
      finally: [],
    };
    const all: PlanStep = {
      kind: 'parallel',
      key: 'all',
      limit: 3,
      fail: 'fast',
      branches: [asks, approval('go'), long].map((one) => ({ step: one, needs: [] })),
    };
    const notify = { events: NOTICE_EVENTS, hooks: ['webhook'] } as const;
    const lasting = (ms: number) =>
      ({ deadlineMs: Date.now() + ms, endsAtDeadline: true, notify }) as const;
    const activities = { [NOTIFY_ACTIVITY]: createNotifyActivity(notifier) };
    const plan = largePlan(all);
    try {
      let args = lasting(15_000);
      await runs.withRun({ plan, behaviour, activities, args }, async ({ handle, start }) => {
        let run = handle;
        await run.result().catch(() => undefined);
        if ((await historiesOf(run, runs.client)).length === 1) {
          // On a machine so slow the deadline came before the new history.
          args = lasting(90_000);
          run = await start(plan, args);
        }
        await expect(run.result()).rejects.toMatchObject({
          cause: {
            type: 'RUN_DEADLINE',
            message: expect.stringContaining(new Date(args.deadlineMs).toISOString()) as string,
          },
        });
        const histories = await historiesOf(run, runs.client);
        expect(histories.length).toBeGreaterThan(1);
        const begun = histories.flat().flatMap((event) => {
          const child = event.startChildWorkflowExecutionInitiatedEventAttributes;
          return child?.workflowType?.name === NOTIFICATION_TYPE ? [child.workflowId ?? ''] : [];
        });
        const told = (): Notice[] =>
          receiver.received.flatMap(({ notice }) =>
            notice.run === run.workflowId ? [notice] : [],
          );
        await becomes(async () => told(), { length: 3 });
        expect(
          told()
            .map(({ event }) => event)
            .toSorted(),
        ).toEqual(['approval', 'failed', 'parked']);
        expect(
          told()
            .map(({ id }) => id)
            .toSorted(),
        ).toEqual(begun.toSorted());
      });
    } finally {
      await receiver.close();
    }
  },
);
