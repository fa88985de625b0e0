import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { WorkflowFailedError } from '@temporalio/client';
import { workflowMetadataQuery } from '@temporalio/workflow';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { readChain } from '../../adapters/bundle/chain.js';
import { NotYet, StepError } from '../../core/error.js';
import type { Plan, PlanStep } from '../../core/plan.js';
import type { RunView } from '../../core/run-view.js';
import { STATE_QUERY } from '../../workflows/contract.js';
import { progressTable } from '../../workflows/progress-table.js';
import { planOf, stepMaker } from '../support/plan-makers.js';
import { activityIds, openRuns, type Behaviour, type Runs } from '../support/workflow-runs.js';

const OPTIONS = {
  timeoutMs: 60_000,
  heartbeatMs: 10_000,
  retry: { attempts: 3, firstMs: 10, factor: 1, mostMs: 10, never: [] },
};

const step = stepMaker(OPTIONS);

let runs: Runs;

beforeAll(async () => {
  runs = await openRuns(inject('temporal').address);
});

afterAll(() => runs.close());

describe.each([
  ['with cached workflows', 10],
  ['with every task replayed', 0],
])('a run on a real server, %s', (_name, maxCachedWorkflows) => {
  test('runs its steps, answers the state query and leaves evidence', async () => {
    const plan = planOf(step('a'), {
      kind: 'foreach',
      id: 'each',
      key: 'each',
      items: { op: 'lit', value: ['x', 'y'] },
      as: 'item',
      limit: 2,
      fail: 'fast',
      collect: { op: 'name', name: 'item' },
      steps: [
        step('work', { with: [['item', { t: 'expr', expr: { op: 'name', name: 'item' } }]] }),
      ],
    });
    await runs.withRun(
      { plan, behaviour: async (input) => ({ seen: input['item'] ?? null }), maxCachedWorkflows },
      async ({ handle }) => {
        const view = (await handle.result()) as RunView;
        expect(view.status).toBe('succeeded');
        expect(view.steps.map(({ path: at, status }) => `${at} ${status}`)).toEqual([
          'a succeeded',
          'each succeeded',
          'each#0 succeeded',
          'each#0/work succeeded',
          'each#1 succeeded',
          'each#1/work succeeded',
        ]);
        expect(await handle.query(STATE_QUERY)).toEqual(view);
        const { currentDetails } = await handle.query(workflowMetadataQuery);
        expect(currentDetails).toBe(progressTable(view));
        const { typedSearchAttributes } = await handle.describe();
        const attributes = typedSearchAttributes
          .getAll()
          .map(({ key, value }) => `${key.name}=${String(value)}`);
        expect(attributes).toEqual(
          expect.arrayContaining(['AditStage=succeeded', 'AditVerdict=succeeded']),
        );
        const evidence = path.join(runs.folder, 'runs', handle.workflowId);
        const record = JSON.parse(
          await readFile(path.join(evidence, 'run.json'), 'utf8'),
        ) as unknown;
        const { bundle, ...ended } = view;
        expect(record).toEqual(ended);
        const chain = readChain(await readFile(path.join(evidence, 'bundle.chain')));
        expect(chain).toMatchObject({ root: bundle, problems: [] });
        expect(chain.records.find(({ name }) => name === 'run')?.value).toEqual(ended);
      },
    );
  });

  test('tries a retryable error again under a new activity id, and counts it', async () => {
    let calls = 0;
    const behaviour: Behaviour = async () => {
      calls += 1;
      if (calls < 3) throw new StepError('COORDINATOR_UNAVAILABLE', 'nobody answers');
      return {};
    };
    await runs.withRun(
      { plan: planOf(step('a')), behaviour, maxCachedWorkflows },
      async ({ handle }) => {
        const view = (await handle.result()) as RunView;
        expect(view.steps[0]).toMatchObject({ status: 'succeeded', attempts: 3 });
        expect(await activityIds(handle)).toEqual(['a', 'a~2', 'a~3', expect.any(String)]);
      },
    );
  });

  test('fails with code, message, hint and step', async () => {
    const behaviour: Behaviour = async () => {
      throw new StepError('PATCH_EMPTY', 'nothing changed', { hint: 'change something' });
    };
    await runs.withRun(
      { plan: planOf(step('a'), step('b')), behaviour, maxCachedWorkflows },
      async ({ handle }) => {
        const error = await handle.result().then(
          () => null,
          (reason: unknown) => reason,
        );
        expect(error).toBeInstanceOf(WorkflowFailedError);
        expect((error as WorkflowFailedError).cause).toMatchObject({
          type: 'PATCH_EMPTY',
          details: [
            {
              status: 'failed',
              error: {
                code: 'PATCH_EMPTY',
                message: 'nothing changed',
                hint: 'change something',
                step: 'a',
              },
            },
          ],
        });
      },
    );
  });

  test('completes as stopped when the code is a decision', async () => {
    const behaviour: Behaviour = async () => {
      throw new StepError('TASK_NOT_LIVE', 'paused');
    };
    await runs.withRun(
      { plan: planOf(step('a')), behaviour, maxCachedWorkflows },
      async ({ handle }) => {
        expect(await handle.result()).toMatchObject({
          status: 'stopped',
          error: { code: 'TASK_NOT_LIVE' },
        });
      },
    );
  });

  test('walks conditions, branches, try and stop as they nest', async () => {
    const no = { op: 'lit', value: false } as const;
    const plan = planOf(
      step('skipped', { if: no }),
      { kind: 'if', key: '[1]', test: no, then: [step('then')], else: [step('otherwise')] },
      { kind: 'try', key: '[2]', steps: [step('body')], finally: [step('clean')] },
      { kind: 'stop', key: '[3]', reason: { t: 'value', value: 'enough' } },
      step('never'),
    );
    await runs.withRun(
      { plan, behaviour: async () => ({}), maxCachedWorkflows },
      async ({ handle }) => {
        const view = (await handle.result()) as RunView;
        expect(view).toMatchObject({ status: 'stopped', error: { message: 'enough' } });
        expect(view.steps.map(({ path: at, status }) => `${at} ${status}`)).toEqual([
          'skipped skipped',
          '[1] succeeded',
          '[1]/then/then pending',
          '[1]/else/otherwise succeeded',
          '[2] succeeded',
          '[2]/body succeeded',
          '[2]/finally/clean succeeded',
          '[3] stopped',
          'never pending',
        ]);
      },
    );
  });

  test('starts items whose inputs together would not fit into one answer to the server', async () => {
    const big = { op: 'member', of: { op: 'name', name: 'inputs' }, key: 'big' } as const;
    const plan: Plan = {
      ...planOf({
        kind: 'foreach',
        key: 'each',
        items: { op: 'lit', value: Array.from({ length: 12 }, (_, index) => index) },
        as: 'item',
        limit: 12,
        fail: 'fast',
        steps: [step('work', { with: [['big', { t: 'expr', expr: big }]] })],
      }),
      inputs: { big: 'x'.repeat(450_000) },
    };
    await runs.withRun(
      { plan, behaviour: async () => ({}), maxCachedWorkflows },
      async ({ handle }) => expect(((await handle.result()) as RunView).status).toBe('succeeded'),
    );
  });

  test('waits for what is not there yet without a trace in the history', async () => {
    let looks = 0;
    const behaviour: Behaviour = async () => {
      looks += 1;
      if (looks < 6) throw new NotYet('SUBMISSION_UNDECIDED', 'still pending', 20);
      return {};
    };
    await runs.withRun(
      { plan: planOf(step('a')), behaviour, maxCachedWorkflows },
      async ({ handle }) => {
        expect(await handle.result()).toMatchObject({
          status: 'succeeded',
          steps: [{ attempts: 1 }],
        });
        expect(looks).toBe(6);
        expect(await activityIds(handle)).toEqual(['a', expect.any(String)]);
      },
    );
  });

  test('ends a wait at its timeout with the code that it waited for', async () => {
    const behaviour: Behaviour = async () => {
      throw new NotYet('PROOF_NOT_PUBLISHED', 'still pending', 60_000);
    };
    const options = { ...OPTIONS, timeoutMs: 4_000 };
    await runs.withRun(
      { plan: planOf(step('a', { options })), behaviour, maxCachedWorkflows },
      async ({ handle }) => {
        await expect(handle.result()).rejects.toMatchObject({
          cause: { type: 'PROOF_NOT_PUBLISHED', message: 'still pending' },
        });
      },
    );
  });

  test('a cancelled run cancels its step, runs `finally` and ends as cancelled', async () => {
    const started = new Set<string>();
    const behaviour: Behaviour = async (_input, context) => {
      started.add(context.call.path);
      if (context.call.path !== 'guard/a') return {};
      await new Promise((_resolve, reject) => {
        context.signal.addEventListener('abort', () => reject(context.signal.reason as Error));
      });
      return {};
    };
    const guard: PlanStep = {
      kind: 'try',
      id: 'guard',
      key: 'guard',
      steps: [step('a')],
      finally: [step('clean')],
    };
    await runs.withRun(
      { plan: planOf(guard), behaviour, maxCachedWorkflows },
      async ({ handle }) => {
        await expect.poll(() => started.has('guard/a')).toBe(true);
        await handle.cancel();
        await expect(handle.result()).rejects.toMatchObject({
          cause: { name: 'CancelledFailure' },
        });
        expect(started).toContain('guard/finally/clean');
        const record = JSON.parse(
          await readFile(path.join(runs.folder, 'runs', handle.workflowId, 'run.json'), 'utf8'),
        ) as RunView;
        expect(record.status).toBe('cancelled');
        expect(record.steps.map(({ path: at, status }) => `${at} ${status}`)).toEqual([
          'guard cancelled',
          'guard/a cancelled',
          'guard/finally/clean succeeded',
        ]);
      },
    );
  });
});
