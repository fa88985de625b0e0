/** Sub-pipelines on a real server; what a call means is tested in core/run-sub-pipeline.test.ts. */
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { readChain } from '../../adapters/bundle/chain.js';
import { createEvidence } from '../../adapters/evidence/evidence.js';
import { StepError } from '../../core/error.js';
import type { PlanStep } from '../../core/plan.js';
import type { RunView } from '../../core/run-view.js';
import { partId } from '../../workflows/contract.js';
import { callOf, expr, input, lit, output, planOf, stepMaker } from '../support/plan-makers.js';
import { until } from '../support/until.js';
import {
  decide,
  openRuns,
  recordHistory,
  runStateOf,
  untilStep,
  viewOf,
  type Runs,
} from '../support/workflow-runs.js';

const step = stepMaker({
  timeoutMs: 60_000,
  heartbeatMs: 10_000,
  retry: { attempts: 1, firstMs: 10, factor: 1, mostMs: 10, never: [] },
});

const paths = ({ steps }: RunView): string[] =>
  steps.map(({ path, status }) => `${path} ${status}`);

let runs: Runs;

beforeAll(async () => {
  runs = await openRuns(inject('temporal').address);
});

afterAll(() => runs.close());

/** What the records of the bundle of a run are about. */
async function linesOf(runId: string): Promise<string[]> {
  const chain = await createEvidence(runs.folder).readChain(runId);
  return readChain(chain ?? Buffer.alloc(0)).records.map(({ record, name }) => `${record} ${name}`);
}

describe('sub-pipelines on a real server, every task replayed,', () => {
  test('run two deep as the run that they are a part of, and give their outputs', async () => {
    const inner = callOf('inner', [step('act')], { outputs: [['n', expr(output('act', 'n'))]] });
    const outer = callOf(
      'outer',
      [step('first', { with: [['word', expr(input('word'))]] }), inner],
      {
        inputs: [{ name: 'word', default: 'default' }],
        outputs: [['n', expr(output('inner', 'n'))]],
      },
    );
    const plan = planOf(outer, step('after', { with: [['n', expr(output('outer', 'n'))]] }));
    const calls: unknown[][] = [];
    await runs.withRun(
      {
        plan,
        behaviour: async (given, { call: { path, runId, roundId } }) => {
          calls.push([path, runId, roundId, given]);
          return { n: 7 };
        },
        maxCachedWorkflows: 0,
      },
      async ({ handle }) => {
        const view = (await handle.result()) as RunView;
        expect(paths(view)).toEqual(['outer succeeded', 'after succeeded']);
        // What keys effects, run directories and evidence.
        const id = handle.workflowId;
        expect(calls).toEqual([
          ['outer/first', id, id, { word: 'default' }],
          ['outer/inner/act', id, id, {}],
          ['after', id, id, { n: 7 }],
        ]);
        const child = runs.client.workflow.getHandle(partId(id, 'outer/inner'));
        expect(paths((await child.result()) as RunView)).toEqual(['outer/inner/act succeeded']);
        const recorded = await createEvidence(runs.folder).readPart(id, 'outer');
        expect(recorded?.['outputs']).toEqual({ n: 7 });
        expect(await linesOf(id)).toEqual([
          'environment environment',
          'plan plan',
          'run run',
          'part outer',
          'part outer/inner',
          'step after',
          'step outer/first',
          'step outer/inner/act',
        ]);
        await recordHistory(child, runs.client, 'a-part-of-a-run-calls-a-part-of-it');
      },
    );
  });

  test('a cancelled run cancels them, and waits until their finally is done', async () => {
    const guard: PlanStep = {
      kind: 'try',
      key: 'guard',
      steps: [step('holds')],
      finally: [step('gives-back')],
    };
    const plan = planOf(callOf('outer', [callOf('inner', [guard]), step('never')]));
    const seen: string[] = [];
    await runs.withRun(
      {
        plan,
        behaviour: async (_input, { call: { path }, signal }) => {
          seen.push(path);
          if (path.endsWith('holds')) await aborted(signal);
          return {};
        },
        maxCachedWorkflows: 0,
      },
      async ({ handle }) => {
        await expect.poll(() => seen).toEqual(['outer/inner/guard/holds']);
        await handle.cancel();
        await expect(handle.result()).rejects.toBeInstanceOf(WorkflowFailedError);
        expect(seen).toEqual(['outer/inner/guard/holds', 'outer/inner/guard/finally/gives-back']);
        expect(paths(await viewOf(handle))).toEqual(['outer cancelled']);
        expect(await linesOf(handle.workflowId)).toContain('part outer/inner');
        const inner = runs.client.workflow.getHandle(partId(handle.workflowId, 'outer/inner'));
        expect((await inner.describe()).status.name).toBe('CANCELLED');
        expect(paths(await viewOf(inner))).toEqual([
          'outer/inner/guard cancelled',
          'outer/inner/guard/holds cancelled',
          'outer/inner/guard/finally/gives-back succeeded',
        ]);
      },
    );
  });

  test('a stop inside stops the run, a failure keeps its step, and a state goes on inside', async () => {
    const stops = callOf('stops', [{ kind: 'stop', key: 'halt', reason: lit('no need') }]);
    const fails = callOf('fails', [step('before'), step('breaks')]);
    const caught: PlanStep = {
      kind: 'try',
      key: 'guard',
      steps: [fails],
      catch: [
        {
          errors: ['DISK_FULL'],
          as: 'error',
          steps: [
            step('instead', {
              with: [
                ['at', expr({ op: 'member', of: { op: 'name', name: 'error' }, key: 'step' })],
              ],
            }),
          ],
        },
      ],
      finally: [],
    };
    const seen: string[] = [];
    let isFull = true;
    await runs.withRun(
      {
        plan: planOf(caught, stops, step('never')),
        behaviour: async (input, { call: { path } }) => {
          seen.push(path === 'guard/catch/0/instead' ? `${path} ${String(input['at'])}` : path);
          if (path.endsWith('breaks') && isFull)
            throw new StepError('DISK_FULL', 'The disk is full.');
          return {};
        },
        maxCachedWorkflows: 0,
      },
      async ({ handle, start }) => {
        const view = (await handle.result()) as RunView;
        expect(view.status).toBe('stopped');
        expect(view.error).toEqual({ code: 'STOPPED', message: 'no need', step: 'stops/halt' });
        expect(seen).toEqual([
          'guard/fails/before',
          'guard/fails/breaks',
          'guard/catch/0/instead guard/fails/breaks',
        ]);
        const part = runs.client.workflow.getHandle(partId(handle.workflowId, 'guard/fails'));
        const { steps } = await runStateOf(part);
        seen.length = 0;
        isFull = false;
        const { 'guard/fails/before': before } = steps;
        const again = await start(planOf(caught), {
          state: { steps: before === undefined ? {} : { 'guard/fails/before': before } },
        });
        expect(((await again.result()) as RunView).status).toBe('succeeded');
        expect(seen).toEqual(['guard/fails/breaks']);
      },
    );
  });

  test('one may be terminated, parked and cancelled by itself', async () => {
    const asks = step('asks', { options: { ...step('x').options, onFailure: 'ask' } });
    const plan = planOf(
      {
        kind: 'try',
        key: 'guard',
        steps: [callOf('killed', [step('holds')])],
        catch: [{ errors: ['PIPELINE_LOST'], as: 'error', steps: [step('noticed')] }],
        finally: [],
      },
      callOf('parked', [asks]),
      callOf('cancelled', [step('holds')]),
    );
    const seen: string[] = [];
    await runs.withRun(
      {
        plan,
        behaviour: async (_input, { call: { path, start }, signal }) => {
          seen.push(path);
          if (path.endsWith('asks') && start === 1)
            throw new StepError('DISK_FULL', 'The disk is full.');
          if (path.endsWith('holds')) await aborted(signal);
          return {};
        },
        maxCachedWorkflows: 0,
      },
      async ({ handle }) => {
        const child = (path: string): WorkflowHandle =>
          runs.client.workflow.getHandle(partId(handle.workflowId, path));
        const started = (path: string): Promise<void> => expect.poll(() => seen).toContain(path);
        await started('guard/killed/holds');
        await child('guard/killed').terminate('by hand');
        await started('parked/asks');
        await untilStep(child('parked'), 'parked/asks', ({ status }) => status === 'parked');
        await decide(child('parked'), { id: 'd1', step: 'parked/asks', action: 'retry' });
        await started('cancelled/holds');
        await child('cancelled').cancel();
        const view = (await handle.result()) as RunView;
        expect(view).toMatchObject({
          status: 'stopped',
          error: { code: 'PIPELINE_CANCELLED', step: 'cancelled' },
        });
        expect(paths(view)).toEqual([
          'guard succeeded',
          'guard/killed failed',
          'guard/catch/0/noticed succeeded',
          'parked succeeded',
          'cancelled stopped',
        ]);
      },
    );
  });

  test.each([
    ['before its beginning is terminated, and begins again', 'before', ['first', 'reset']],
    ['behind its beginning goes on, and the run takes its end', 'behind', ['first']],
  ])('one whose run was reset to %s', async (_how, point, starts) => {
    const seen: string[] = [];
    let isHeld = true;
    await runs.withRun(
      {
        plan: planOf(callOf('gate', [step('holds')])),
        behaviour: async (_input, { call: { reset }, signal }) => {
          seen.push(reset === true ? 'reset' : 'first');
          while (isHeld && !signal.aborted) await sleep(100);
          signal.throwIfAborted();
          return {};
        },
        maxCachedWorkflows: 0,
      },
      async ({ handle }) => {
        await expect.poll(() => seen).toEqual(['first']);
        // One begins the part, one takes note that it has begun.
        const tasks = await until('both workflow tasks', async () => {
          const { events } = await handle.fetchHistory();
          const ended = events?.filter((event) => event.workflowTaskCompletedEventAttributes);
          return ended?.[1] === undefined ? undefined : ended;
        });
        await runs.client.connection.workflowService.resetWorkflowExecution({
          namespace: runs.client.options.namespace,
          workflowExecution: { workflowId: handle.workflowId },
          reason: 'a test',
          requestId: handle.workflowId,
          workflowTaskFinishEventId: tasks.at(point === 'before' ? 0 : -1)?.eventId ?? null,
        });
        isHeld = false;
        const again = runs.client.workflow.getHandle(handle.workflowId);
        expect(((await again.result()) as RunView).status).toBe('succeeded');
        expect(seen).toEqual(starts);
      },
    );
  });
});

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error));
  });
}
