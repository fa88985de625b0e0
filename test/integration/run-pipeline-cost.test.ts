/** What docs/language.md says that each construct costs in events of a history is what a server counts. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { StepError } from '../../core/error.js';
import type { PlanStep } from '../../core/plan.js';
import {
  NOTIFY_ACTIVITY,
  PLACE_ACTIVITY,
  WORKFLOW_TYPE,
  type RunArgs,
} from '../../workflows/contract.js';
import { callOf, foreachOf, lit, planOf, stepMaker } from '../support/plan-makers.js';
import {
  approve,
  decide,
  openRuns,
  untilStep,
  type Behaviour,
  type Runs,
} from '../support/workflow-runs.js';

/** Rows of the table, by how they begin. */
const rows = readFileSync(join(import.meta.dirname, '../../docs/language.md'), 'utf8')
  .split('## What it costs')[1]!
  .split('\n')
  .filter((line) => line.startsWith('| '))
  .map((line) => line.replaceAll(/\s+/g, ' '));

/** The figures of a row. */
function figures(begin: string): number[] {
  const row = rows.find((line) => line.startsWith(`| ${begin}`));
  return [...(row?.split(' | ')[1] ?? '').matchAll(/\d+/g)].map(([digits]) => Number(digits));
}

const [RUN = 0, RETRIED = 0, LOCK = 0, MARK = 0] = figures('the run itself');
const [STEP = 0, AGAIN = 0] = figures('a step,');
const [STAGE = 0] = figures('the stage');
const [PLACE = 0] = figures('finding the host');
const [PAUSE = 0] = figures('a `wait`');
const [TIMER = 0] = figures('a `finally`');
const [ANSWER = 0] = figures('an answer');
const [CALL = 0, PART = 0] = figures('a `pipeline`');
const [NOTICE = 0, LAST_NOTICE = 0] = figures('an event');
const [NOTHING = -1] = figures('any other block');

const step = stepMaker({
  timeoutMs: 60_000,
  heartbeatMs: 10_000,
  retry: { attempts: 2, firstMs: 20, factor: 1, mostMs: 20, never: [] },
});
const asking = step('asks', { options: { ...step('a').options, onFailure: 'ask' } });
const ask: PlanStep = {
  kind: 'approve',
  id: 'ask',
  key: 'ask',
  summary: lit('Go on?'),
  show: [],
  fields: [],
  quorum: 2,
  expires: lit('1h'),
};

const behaviour: Behaviour = async (_input, { call }) => {
  if (call.path === 'again' && call.start === 1) throw new StepError('PROGRAM_FAILED', 'once');
  if (call.path === 'asks') throw new StepError('PROGRAM_KILLED', 'always');
  return {};
};

let runs: Runs;

beforeAll(async () => {
  runs = await openRuns(inject('temporal').address);
});

afterAll(() => runs.close());

test('the stage is shown at once, but for what comes too soon after another', async () => {
  // Five seconds after one is shown nothing else is: the second pause begins within them, the last step does not.
  const plan = planOf(
    step('a'),
    { kind: 'wait', key: 'first', for: lit('7s') },
    { kind: 'wait', key: 'second', for: lit('9s') },
    step('b'),
  );
  await runs.withRun({ plan, behaviour }, async ({ handle }) => {
    await handle.result();
    const { events } = await handle.fetchHistory();
    const pauses = new Set<string>();
    const shown: string[] = [];
    for (const event of events ?? []) {
      const summary = text(event.userMetadata?.summary?.data);
      if (summary === '"until the stage is shown"')
        pauses.add(event.timerStartedEventAttributes?.timerId ?? '');
      const { timerId } = event.timerFiredEventAttributes ?? {};
      if (timerId !== undefined && timerId !== null && pauses.has(timerId)) shown.push('later:');
      const upserted = event.upsertWorkflowSearchAttributesEventAttributes?.searchAttributes;
      const stage = text(upserted?.indexedFields?.['AditStage']?.data);
      if (stage !== '') shown.push(stage);
    }
    const late = ['later:', '"first"', 'later:', '"second"'];
    expect(shown).toEqual(['"a"', ...late, '"b"', '"succeeded"']);
  });
});

test('a promise of a workflow takes no stack trace, and an error has its own', async () => {
  const plan = planOf({ kind: 'wait', key: 'pause', for: lit('1h') });
  await runs.withRun({ plan, behaviour }, async ({ handle, start }) => {
    await untilStep(handle, 'pause', ({ status }) => status === 'running');
    expect(await handle.query('__stack_trace')).toBe('');
    const newer = await start({ ...plan, irVersion: 2 as 1 });
    const { cause } = (await newer.result().catch((error: unknown) => error)) as Error;
    expect((cause as Error).stack).toMatch(/ at .*workflows\/run-pipeline\.ts:\d+/);
  });
});

function text(data: Uint8Array | null | undefined): string {
  return Buffer.from(data ?? []).toString('utf8');
}

test('a history has as many events as the document says', async () => {
  let host = '';
  const activities = {
    [NOTIFY_ACTIVITY]: () => Promise.resolve('delivered'),
    [PLACE_ACTIVITY]: () => Promise.resolve({ queue: host }),
  };
  const plan = planOf(step('a'));
  await runs.withRun(
    { plan, behaviour, activities },
    async ({ handle: whole, start, taskQueue }) => {
      host = taskQueue;
      const eventsOf = async (handle: WorkflowHandle): Promise<number> => {
        await handle.result().catch(() => 'however it ended');
        return (await handle.describe()).historyLength;
      };
      // Only `adit run` gives a run the stage that it begins with.
      expect(await eventsOf(whole)).toBe(RETRIED + STEP);
      const args: RunArgs = { plan, roundId: 'staged', searchAttributes: true };
      const stage = defineSearchAttributeKey('AditStage', SearchAttributeType.KEYWORD);
      const staged = await runs.client.workflow.start(WORKFLOW_TYPE, {
        taskQueue,
        workflowId: `${taskQueue}-staged`,
        args: [args],
        typedSearchAttributes: [{ key: stage, value: 'a' }],
      });
      expect(await eventsOf(staged)).toBe(RUN + STEP);
      const lockId = `${taskQueue}/lock`;
      const locked = await start(plan, { lockId });
      expect(await eventsOf(locked)).toBe(RETRIED + STEP + LOCK);

      // Without search attributes a run has neither stages nor a verdict, which is shown with the last one.
      const bare = (await eventsOf(await start(plan, { searchAttributes: false }))) - STEP;
      expect(RETRIED - bare).toBe(2 * STAGE);
      /** What these steps add to a run. */
      const costOf = async (more: Partial<RunArgs>, ...steps: PlanStep[]): Promise<number> =>
        (await eventsOf(await start(planOf(...steps), { searchAttributes: false, ...more }))) -
        bare;

      const twice: PlanStep = {
        kind: 'repeat',
        key: 'loop',
        limit: 2,
        everyMs: 3_000,
        steps: [step('b')],
      };
      const guarded: PlanStep = {
        kind: 'try',
        key: 'guard',
        steps: [step('b')],
        finally: [step('c')],
        finallyTimeoutMs: 60_000,
      };
      const choice: PlanStep = {
        kind: 'if',
        key: 'choice',
        test: { op: 'lit', value: true },
        then: [step('b')],
        else: [],
      };
      const stop: PlanStep = { kind: 'stop', key: 'stop', reason: lit('enough') };
      const skipped = step('c', { if: { op: 'lit', value: false } });
      const inAnHour = { deadlineMs: Date.now() + 3_600_000, endsAtDeadline: true } as const;
      const hooks = { notify: { events: ['succeeded'], hooks: ['webhook'] } } as const;
      const sequential = foreachOf(['x', 'y'], [step('b')], { limit: 1 });
      expect(
        await Promise.all([
          costOf({}, step('a'), step('b'), step('c')),
          costOf({}, step('again')),
          costOf({}, { kind: 'wait', key: 'wait', for: lit('100ms') }),
          costOf({}, twice),
          costOf({}, guarded),
          costOf({}, sequential),
          costOf({}, choice, skipped, stop),
          costOf(inAnHour, step('a')),
          costOf({}, callOf('gate', [step('b'), step('c')])),
          costOf(hooks, step('a')),
          costOf({}, step('a', { program: true }), step('b', { program: true })),
        ]),
      ).toEqual([
        3 * STEP,
        STEP + AGAIN,
        PAUSE,
        2 * STEP + PAUSE,
        2 * STEP + TIMER,
        2 * STEP + NOTHING,
        STEP + 3 * NOTHING,
        STEP + TIMER,
        CALL,
        STEP + LAST_NOTICE,
        2 * STEP + PLACE,
      ]);
      const caller = await start(planOf(callOf('gate', [step('b')])));
      await caller.result();
      const part = runs.client.workflow.getHandle(`${caller.workflowId}/gate`);
      expect(await eventsOf(part)).toBe(PART + STEP);

      const asked = await start(planOf(ask), { searchAttributes: false });
      const { approval } = await untilStep(asked, 'ask', ({ status }) => status === 'parked');
      const answer = { step: 'ask', digest: approval?.digest, by: 'ann' };
      await approve(asked, { ...answer, id: 'first' });
      await expect(approve(asked, { ...answer, id: 'refused' })).rejects.toThrow();
      await approve(asked, { ...answer, by: 'bob', id: 'second' });
      expect((await eventsOf(asked)) - bare).toBe(2 * ANSWER + TIMER);

      const parked = await start(planOf(asking), {
        searchAttributes: false,
        notify: { events: ['parked'], hooks: ['webhook'] },
      });
      await untilStep(parked, 'asks', ({ status }) => status === 'parked');
      const isTold = async (): Promise<boolean> =>
        (await parked.fetchHistory()).events?.some(
          (event) => event.childWorkflowExecutionCompletedEventAttributes,
        ) === true;
      await expect.poll(isTold).toBe(true);
      await decide(parked, { id: 'd1', step: 'asks', action: 'fail' });
      const cost = (await eventsOf(parked)) - bare - STEP - MARK - ANSWER;
      // Quickly told is told within one task of the workflow.
      expect([NOTICE - 3, NOTICE]).toContain(cost);
    },
  );
});
