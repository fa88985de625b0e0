import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { ApplicationFailure } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { readChain } from '../../adapters/bundle/chain.js';
import { createEvidence } from '../../adapters/evidence/evidence.js';
import { StepError } from '../../core/error.js';
import type { ApproveStep, PlanStep } from '../../core/plan.js';
import { toRetryState } from '../../core/retry-state.js';
import type { RunView } from '../../core/run-view.js';
import {
  APPROVAL_QUERY,
  CHECK_OUTPUTS_ACTIVITY,
  ROUND_LOCK_TYPE,
  type ApprovalView,
  type CheckOutputsArgs,
} from '../../workflows/contract.js';
import { expr, foreachOf, lit, output, planOf, stepMaker } from '../support/plan-makers.js';
import {
  activityIds,
  approve,
  decide,
  openRuns,
  runStateOf,
  untilStep,
  viewOf,
  type Behaviour,
  type Runs,
} from '../support/workflow-runs.js';

const OPTIONS = {
  timeoutMs: 60_000,
  heartbeatMs: 10_000,
  retry: { attempts: 1, firstMs: 10, factor: 1, mostMs: 10, never: [] },
};

const step = stepMaker(OPTIONS);
const reads = step('b', { with: [['x', expr(output('a', 'value'))]] });

const unknown = (askUntilMs?: number): StepError =>
  new StepError('EFFECT_UNKNOWN', 'Nobody knows whether it was done.', {
    hint: 'look it up',
    ...(askUntilMs === undefined ? {} : { askUntilMs }),
  });

/** The step `a` is for a person to decide at its first `times` starts; the others return what they were given. */
const asking =
  (times: number, seen: unknown[] = []): Behaviour =>
  async (input, { call }) => {
    if (call.path.endsWith('a') && call.start <= times) throw unknown();
    seen.push(input);
    return { value: `start ${call.start}` };
  };

/** Takes what has a text `value`. */
const checkOutputs = {
  [CHECK_OUTPUTS_ACTIVITY]: async ({ uses, outputs }: CheckOutputsArgs) => {
    if (typeof outputs['value'] === 'string') return { ...outputs, checked: true };
    throw ApplicationFailure.nonRetryable(`${uses}: value: is no text`, 'DECISION_INVALID');
  },
};

let runs: Runs;

beforeAll(async () => {
  runs = await openRuns(inject('temporal').address);
});

afterAll(() => runs.close());

describe.each([
  ['with cached workflows', 10],
  ['with every task replayed', 0],
])('a parked step, %s', (_name, maxCachedWorkflows) => {
  test('shows its error and how to decide, and goes on with the outputs that a person gives', async () => {
    const seen: unknown[] = [];
    await runs.withRun(
      {
        plan: planOf(step('a'), reads),
        behaviour: asking(1, seen),
        activities: checkOutputs,
        maxCachedWorkflows,
      },
      async ({ handle }) => {
        const parked = await untilStep(handle, 'a', ({ status }) => status === 'parked');
        expect(parked).toMatchObject({
          attempts: 1,
          error: { code: 'EFFECT_UNKNOWN', hint: 'look it up', step: 'a' },
          decide: `decide ${handle.workflowId} a --retry`,
        });
        expect(await viewOf(handle)).toMatchObject({ status: 'running', stage: 'a' });

        const given = { id: 'd1', step: 'a', action: 'value', outputs: { value: 'by hand' } };
        await expect(decide(handle, { ...given, outputs: { value: 7 } })).rejects.toMatchObject({
          cause: { message: 'test.step: value: is no text', type: 'DECISION_INVALID' },
        });
        expect(await decide(handle, given)).toEqual({
          step: 'a',
          action: 'value',
          repeated: false,
        });

        expect(await handle.result()).toMatchObject({ status: 'succeeded' });
        expect(seen).toEqual([{ x: 'by hand' }]);
        expect(await runStateOf(handle)).toMatchObject({
          steps: { a: { status: 'succeeded', outputs: { value: 'by hand', checked: true } } },
          decisions: { d1: { step: 'a', action: 'value' } },
        });
      },
    );
  });

  test('refuses a decision that cannot be meant, and says what to do', async () => {
    await runs.withRun(
      { plan: planOf(step('a'), reads), behaviour: asking(1), maxCachedWorkflows },
      async ({ handle }) => {
        await untilStep(handle, 'a', ({ status }) => status === 'parked');
        const whole = { id: 'd1', step: 'a', action: 'retry' };
        const refused: Array<[object, string, string | undefined]> = [
          [
            { ...whole, id: '' },
            'A decision has an id, a text of at most 200 characters.',
            undefined,
          ],
          [{ ...whole, id: undefined }, 'A decision has an id', undefined],
          [{ ...whole, step: undefined }, 'A decision names a step by its path.', undefined],
          [{ ...whole, step: 'aa' }, 'The run has come by no step `aa`.', 'These wait: a.'],
          [{ ...whole, step: 'b' }, 'The run has come by no step `b`.', 'These wait: a.'],
          [
            { ...whole, action: 'skip' },
            '`skip` is no decision.',
            'Decide `retry`, `value` with outputs, or `fail`.',
          ],
          [
            { ...whole, action: 'value' },
            '`value` needs `outputs`, a map from the names of the outputs to their values.',
            '`adit steps` shows what test.step returns.',
          ],
          [{ ...whole, action: 'value', outputs: ['x'] }, '`value` needs `outputs`', undefined],
          [
            { ...whole, action: 'value', outputs: { value: 'x'.repeat(70_000) } },
            'The outputs are 70012 bytes; at most 65536 may travel.',
            'Large values belong into a file; pass its FileRef.',
          ],
        ];
        for (const [decision, message, hint] of refused) {
          await expect(decide(handle, decision)).rejects.toMatchObject({
            cause: {
              type: 'DECISION_INVALID',
              message: expect.stringContaining(message) as string,
              ...(hint === undefined ? {} : { details: [{ hint }] }),
            },
          });
        }
        await decide(handle, whole);
        expect(await handle.result()).toMatchObject({ status: 'succeeded' });
        expect(await activityIds(handle)).toEqual(['a', 'a~2', 'b', expect.any(String)]);
      },
    );
  });

  test('fails as its code says when a person decides so, and `finally` runs', async () => {
    const guard: PlanStep = {
      kind: 'try',
      id: 'guard',
      key: 'guard',
      steps: [step('a')],
      finally: [step('clean')],
    };
    await runs.withRun(
      { plan: planOf(guard), behaviour: asking(1), maxCachedWorkflows },
      async ({ handle }) => {
        await untilStep(handle, 'guard/a', ({ status }) => status === 'parked');
        await decide(handle, { id: 'd1', step: 'guard/a', action: 'fail' });
        const view = (await handle.result()) as RunView;
        expect(view).toMatchObject({ status: 'stopped', error: { code: 'EFFECT_UNKNOWN' } });
        expect(view.steps.map(({ path: at, status }) => `${at} ${status}`)).toEqual([
          'guard stopped',
          'guard/a stopped',
          'guard/finally/clean succeeded',
        ]);
      },
    );
  });

  test('says until when it asks, and is cancelled with its run', async () => {
    const untilMs = Date.now() + 3_600_000;
    const behaviour: Behaviour = async () => {
      throw unknown(untilMs);
    };
    await runs.withRun(
      { plan: planOf(step('a')), behaviour, maxCachedWorkflows },
      async ({ handle }) => {
        const { note } = await untilStep(handle, 'a', ({ status }) => status === 'parked');
        const until = new Date(untilMs).toISOString();
        expect(note).toBe(`asks until ${until}, then the run ends as stopped`);
        await handle.cancel();
        await expect(handle.result()).rejects.toMatchObject({
          cause: { name: 'CancelledFailure' },
        });
        const record = JSON.parse(
          await readFile(path.join(runs.folder, 'runs', handle.workflowId, 'run.json'), 'utf8'),
        ) as RunView;
        expect(record.steps[0]?.status).toBe('cancelled');
      },
    );
  });

  // Nothing is asked of the run before it ends: on a slow machine the wait is over before an answer.
  test('waits no longer than its error says', async () => {
    let untilMs = 0;
    const behaviour: Behaviour = async () => {
      untilMs = Date.now() + 1_000;
      throw unknown(untilMs);
    };
    await runs.withRun(
      { plan: planOf(step('a')), behaviour, maxCachedWorkflows },
      async ({ handle }) => {
        expect(await handle.result()).toMatchObject({
          status: 'stopped',
          error: { code: 'EFFECT_UNKNOWN' },
        });
        const { closeTime } = await handle.describe();
        expect(closeTime?.getTime()).toBeGreaterThanOrEqual(untilMs);
      },
    );
  });
});

const go: ApproveStep = {
  kind: 'approve',
  id: 'go',
  key: 'go',
  summary: lit('Go on?'),
  show: [['value', expr(output('a', 'value'))]],
  fields: [{ name: 'lane', type: { kind: 'string' }, summary: '', required: true }],
  quorum: 2,
  expires: lit('1h'),
};

describe.each([
  ['with cached workflows', 10],
  ['with every task replayed', 0],
])('an approval, %s', (_name, maxCachedWorkflows) => {
  test('counts each person and each id once, for what was shown, also in a run that goes on from its state', async () => {
    const plan = planOf(step('a'), go, step('b', { with: [['x', expr(output('go', 'lane'))]] }));
    const seen: unknown[] = [];
    await runs.withRun(
      { plan, behaviour: asking(0, seen), maxCachedWorkflows },
      async ({ handle, start }) => {
        const parked = await untilStep(handle, 'go', ({ status }) => status === 'parked');
        expect(parked).toMatchObject({
          decide: `approve ${handle.workflowId} go`,
          note: expect.stringMatching(/^waits for approval, 0 of 2, until 20/) as string,
        });
        await expect
          .poll(async () => (await handle.describe()).searchAttributes['AditStage'])
          .toEqual(['go (waits for approval)']);
        const shown = await handle.query<ApprovalView | null, [string]>(APPROVAL_QUERY, 'go');
        expect(shown?.asked).toMatchObject({ summary: 'Go on?', show: { value: 'start 1' } });
        const { digest = '' } = shown?.state ?? {};

        const ada = { id: 'ada1', step: 'go', by: 'ada', digest, fields: { lane: 'fast' } };
        const refused: Array<[object, string, string]> = [
          [{ digest: digest.replace(/^./, 'x') }, 'APPROVAL_CHANGED', 'is for something else'],
          [{ fields: {} }, 'DECISION_INVALID', 'The field `lane` is missing.'],
          [{ step: 'a' }, 'DECISION_INVALID', 'a does not wait for approval: it is succeeded.'],
          [{ step: 'x' }, 'DECISION_INVALID', 'The run has come by no step `x`.'],
          [{ id: '' }, 'DECISION_INVALID', 'A decision has an id'],
        ];
        for (const [wrong, type, message] of refused) {
          await expect(approve(handle, { ...ada, ...wrong })).rejects.toMatchObject({
            cause: { type, message: expect.stringContaining(message) as string },
          });
        }
        await expect(
          decide(handle, { id: 'd', step: 'go', action: 'retry' }),
        ).rejects.toMatchObject({
          cause: { message: 'go waits for approval, not for a decision.' },
        });

        expect(await approve(handle, ada)).toMatchObject({ repeated: false, approved: 1 });
        await expect(approve(handle, { ...ada, id: 'ada2' })).rejects.toMatchObject({
          cause: { message: 'ada has approved go already; a person counts once.' },
        });
        const state = await runStateOf(handle);
        const bob = { ...ada, id: 'bob1', by: 'bob' };
        // The update id is another one: that the answer's id counts once the run itself knows.
        const other = await start(plan, { state });
        for (const one of [handle, other]) {
          // Of the other one perhaps before its interpreter has come to the step.
          expect(await approve(one, ada)).toEqual({
            step: 'go',
            action: 'approve',
            repeated: true,
            approved: 1,
            quorum: 2,
          });
          expect(await approve(one, bob)).toMatchObject({ repeated: false, approved: 2 });
          const view = (await one.result()) as RunView;
          expect(view).toMatchObject({ status: 'succeeded' });
          expect(view.steps[1]?.approval).toMatchObject({
            digest,
            approved: [{ by: 'ada' }, { by: 'bob' }],
          });
        }
        expect(seen.slice(1)).toEqual([{ x: 'fast' }, { x: 'fast' }]);
      },
    );
  });
});

test('an approval ends the run as stopped when its time is over, and is cancelled with it', async () => {
  const guard: PlanStep = {
    kind: 'try',
    id: 'guard',
    key: 'guard',
    steps: [{ ...go, show: [], expires: lit('1s') }],
    finally: [step('clean')],
  };
  await runs.withRun({ plan: planOf(guard), behaviour: asking(0) }, async ({ handle, start }) => {
    const lasting = await start(planOf({ ...guard, steps: [{ ...go, show: [] }] }));
    await untilStep(lasting, 'guard/go', ({ status }) => status === 'parked');
    await lasting.cancel();
    await expect(lasting.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
    const view = (await handle.result()) as RunView;
    expect(view).toMatchObject({ status: 'stopped', error: { code: 'APPROVAL_EXPIRED' } });
    expect(view.steps.at(-1)).toMatchObject({ path: 'guard/finally/clean', status: 'succeeded' });
  });
});

test('with on_failure: ask a step is parked whatever its code', async () => {
  const asks = step('a', { options: { ...OPTIONS, onFailure: 'ask' } });
  const behaviour: Behaviour = async (_input, { call }) => {
    if (call.path === 'a' && call.start === 1)
      throw new StepError('PATCH_EMPTY', 'nothing changed');
    return { value: 1 };
  };
  await runs.withRun({ plan: planOf(asks, reads), behaviour }, async ({ handle }) => {
    await untilStep(handle, 'a', ({ status }) => status === 'parked');
    await decide(handle, { id: 'd1', step: 'a', action: 'retry' });
    expect(await handle.result()).toMatchObject({
      status: 'succeeded',
      steps: [{ attempts: 2 }, {}],
    });
  });
});

test('two parked items are decided one by one, whichever comes first', async () => {
  const plan = planOf(
    foreachOf(['x', 'y'], [step('a')], { collect: output('a', 'value') }),
    step('b', { with: [['x', expr(output('each', 'results'))]] }),
  );
  const seen: unknown[] = [];
  await runs.withRun(
    { plan, behaviour: asking(1, seen), activities: checkOutputs },
    async ({ handle }) => {
      await untilStep(handle, 'each#0/a', ({ status }) => status === 'parked');
      await untilStep(handle, 'each#1/a', ({ status }) => status === 'parked');
      await expect(decide(handle, { id: 'd0', step: 'b', action: 'retry' })).rejects.toMatchObject({
        cause: { details: [{ hint: 'These wait: each#0/a, each#1/a.' }] },
      });
      await decide(handle, {
        id: 'd1',
        step: 'each#1/a',
        action: 'value',
        outputs: { value: 'one' },
      });
      await expect(
        decide(handle, { id: 'd2', step: 'each#1/a', action: 'retry' }),
      ).rejects.toMatchObject({
        cause: { message: 'each#1/a is not parked: it is succeeded.' },
      });
      // An id stands for one decision.
      await expect(
        decide(handle, { id: 'd1', step: 'each#0/a', action: 'retry' }),
      ).rejects.toMatchObject({
        cause: { message: 'The decision d1 was counted before, as `value` for each#1/a.' },
      });
      await decide(handle, { id: 'd3', step: 'each#0/a', action: 'retry' });
      expect(await handle.result()).toMatchObject({ status: 'succeeded' });
      expect(seen.at(-1)).toEqual({ x: ['start 2', 'one'] });
    },
  );
});

test('a decision that was counted counts no second time in a run that goes on from its state', async () => {
  const state = {
    steps: {
      a: {
        status: 'parked' as const,
        uses: 'test.step',
        attempts: 1,
        startedAt: new Date().toISOString(),
        parkedAt: new Date().toISOString(),
        error: { code: 'EFFECT_UNKNOWN', message: 'Nobody knows.', step: 'a' },
      },
    },
    decisions: { d1: { step: 'a', action: 'retry' } },
  };
  await runs.withRun(
    { plan: planOf(step('a'), reads), behaviour: asking(1), args: { state } },
    async ({ handle }) => {
      await untilStep(handle, 'a', ({ status }) => status === 'parked');
      expect(await decide(handle, { id: 'd1', step: 'a', action: 'retry' })).toEqual({
        step: 'a',
        action: 'retry',
        repeated: true,
      });
      expect(await activityIds(handle)).toEqual([]);
      await decide(handle, { id: 'd2', step: 'a', action: 'retry' });
      expect(await handle.result()).toMatchObject({ status: 'succeeded' });
      // The start of the run before is not repeated.
      expect(await activityIds(handle)).toEqual(['a~2', 'b', expect.any(String)]);
    },
  );
});

test('a run ends as stopped behind the step that it was to reach', async () => {
  await runs.withRun(
    { plan: planOf(step('a'), reads), behaviour: asking(0), args: { until: 'a' } },
    async ({ handle }) => {
      expect(await handle.result()).toMatchObject({
        status: 'stopped',
        error: { code: 'UNTIL_REACHED', step: 'a' },
        steps: [{ status: 'succeeded' }, { status: 'pending' }],
      });
    },
  );
});

test('a new run goes on from the state of one that failed', async () => {
  const started: string[] = [];
  let broken = true;
  const behaviour: Behaviour = async (input, { call }) => {
    started.push(`${call.runId === call.roundId ? 'first' : 'second'} ${call.path}`);
    if (call.path === 'b' && broken) throw new StepError('PATCH_EMPTY', 'nothing changed');
    return { value: 1, ...input };
  };
  const plan = planOf(step('a'), reads);
  await runs.withRun({ plan, behaviour }, async ({ handle, start }) => {
    await expect(handle.result()).rejects.toThrow();
    const state = toRetryState(plan, await runStateOf(handle));
    broken = false;
    const second = await start(plan, { roundId: handle.workflowId, state });
    expect(await second.result()).toMatchObject({
      status: 'succeeded',
      roundId: handle.workflowId,
      steps: [{ status: 'succeeded' }, { status: 'succeeded', attempts: 1 }],
    });
    expect(started).toEqual(['first a', 'first b', 'second b']);
    // Each leaves a bundle of its own; that of the second has what it took over.
    const evidence = createEvidence(runs.folder);
    const stepsOf = async (runId: string): Promise<unknown[]> =>
      readChain((await evidence.readChain(runId)) ?? Buffer.alloc(0))
        .records.filter(({ record }) => record === 'step')
        .map(({ name, value }) => [name, value['status'], value['ofRun']]);
    expect(await stepsOf(handle.workflowId)).toEqual([
      ['a', 'succeeded', undefined],
      ['b', 'failed', undefined],
    ]);
    expect(await stepsOf(second.workflowId)).toEqual([
      ['a', 'succeeded', handle.workflowId],
      ['b', 'succeeded', undefined],
    ]);
  });
});

test('a run holds the lock of its round until it has ended, and another stops', async () => {
  const lockId = `adit-round:${Date.now()}`;
  let open = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    open = resolve;
  });
  const behaviour: Behaviour = async () => {
    await held;
    return {};
  };
  await runs.withRun(
    { plan: planOf(step('a')), behaviour, args: { lockId } },
    async ({ handle, start }) => {
      await untilStep(handle, 'a', ({ status }) => status === 'running');
      const lock = await runs.client.workflow.getHandle(lockId).describe();
      expect(lock.type).toBe(ROUND_LOCK_TYPE);
      expect(lock.parentExecution?.workflowId).toBe(handle.workflowId);

      const second = await start(planOf(step('a')), { lockId });
      expect(await second.result()).toMatchObject({
        status: 'stopped',
        error: {
          code: 'ROUND_RUNNING',
          message: `Another run for this task and hotkey is under way; it holds ${lockId}.`,
        },
        steps: [{ status: 'pending' }],
      });

      open();
      expect(await handle.result()).toMatchObject({ status: 'succeeded' });
      // At once: the server ends the lock a moment after the run.
      const third = await start(planOf(step('a')), { lockId });
      expect(await third.result()).toMatchObject({ status: 'succeeded' });
    },
  );
});

test.each(['before it took the lock', 'after it took the lock'])(
  'a run that is reset to a point %s holds the lock, and lets it go when it ends',
  async (point) => {
    const lockId = `adit-round:${Date.now()}`;
    let open = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      open = resolve;
    });
    const behaviour: Behaviour = async (_input, { call }) => {
      if (call.path === 'b') await held;
      return {};
    };
    await runs.withRun(
      { plan: planOf(step('a'), step('b')), behaviour, args: { lockId } },
      async ({ handle, start }) => {
        await untilStep(handle, 'b', ({ status }) => status === 'running');
        const { events } = await handle.fetchHistory();
        const tasks = (events ?? []).filter((event) => event.workflowTaskCompletedEventAttributes);
        const { connection, options, workflow } = runs.client;
        await connection.workflowService.resetWorkflowExecution({
          namespace: options.namespace,
          workflowExecution: { workflowId: handle.workflowId },
          reason: 'a test',
          requestId: lockId,
          workflowTaskFinishEventId: tasks.at(point.startsWith('before') ? 0 : -1)?.eventId ?? null,
        });
        const again = workflow.getHandle(handle.workflowId);
        await untilStep(again, 'b', ({ status }) => status === 'running');
        const second = await start(planOf(step('a')), { lockId });
        expect(await second.result()).toMatchObject({ error: { code: 'ROUND_RUNNING' } });

        open();
        expect(await again.result()).toMatchObject({ status: 'succeeded' });
        const third = await start(planOf(step('a')), { lockId });
        expect(await third.result()).toMatchObject({ status: 'succeeded' });
      },
    );
  },
);
