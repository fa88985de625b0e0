import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ok, run, type World } from '../test/support/interpreter-world.js';
import { expr, foreachOf, lit, output, planOf, stepMaker } from '../test/support/plan-makers.js';
import type { AnswerField } from './answer-fields.js';
import type { ApprovalAnswer, OpenApproval } from './open-approval.js';
import type { ApproveStep, PlanStep } from './plan.js';
import { toRetryState } from './retry-state.js';
import { digestOfAsked } from './run-approve.js';
import type { RunState } from './run-state.js';
import { toRunView } from './run-view.js';

const step = stepMaker({
  timeoutMs: 60_000,
  retry: { attempts: 1, firstMs: 1_000, factor: 2, mostMs: 10_000, never: [] },
});

const LANE: AnswerField = {
  name: 'lane',
  type: { kind: 'one_of', values: ['fast', 'careful'] },
  summary: '',
  required: true,
};
const NOTE: AnswerField = { name: 'note', type: { kind: 'string' }, summary: '', required: false };

const approve = (overrides: Partial<ApproveStep> = {}): ApproveStep => ({
  kind: 'approve',
  id: 'go',
  key: 'go',
  show: [['patch', expr(output('a', 'patch'))]],
  fields: [],
  quorum: 1,
  summary: lit('Go on?'),
  ...overrides,
});

/** Sends an answer as a client would; throws what the run refuses it with. */
function answer(
  approval: OpenApproval,
  world: World,
  given: Partial<ApprovalAnswer> & { readonly by: string },
): void {
  const whole: ApprovalAnswer = { action: 'approve', digest: approval.state.digest, ...given };
  const problem = approval.problemOf({ ...whole }, world.now);
  if (problem !== null) throw new Error(`${problem.code}: ${problem.message} ${problem.hint}`);
  approval.take(whole, new Date(world.now).toISOString());
}

const patched = (patch: string) => () => ok({ patch });
const stateAt = ({ state }: World, path: string): RunState['steps'][string] | undefined =>
  state.steps[path];

describe('an approval', () => {
  test('waits parked with what it is bound to, and gives the fields and who approved', async () => {
    const plan = planOf(
      step('a'),
      approve({ fields: [LANE, NOTE] }),
      step('b', { with: [['x', expr(output('go', 'lane'))]] }),
    );
    const world = await run(plan, patched('one'), {
      approve: (approval, here) => {
        expect(stateAt(here, 'go')).toEqual({
          status: 'parked',
          uses: 'approve',
          attempts: 0,
          startedAt: '2026-01-01T00:00:00.000Z',
          note: 'waits for approval',
          approval: { digest: approval.state.digest, quorum: 1, approved: [] },
        });
        expect(approval.asked).toEqual({
          summary: 'Go on?',
          show: { patch: 'one' },
          fields: [LANE, NOTE],
        });
        expect(approval.state.digest).toBe(digestOfAsked(approval.asked));
        answer(approval, here, { by: ' ada ', fields: { lane: 'fast' }, reason: 'it is good' });
      },
    });
    expect(world.result).toMatchObject({ status: 'succeeded' });
    expect(world.requests.at(-1)?.input).toEqual({ x: 'fast' });
    const go = stateAt(world, 'go');
    expect(go?.outputs).toEqual({
      lane: 'fast',
      approvals: [{ by: 'ada', at: '2026-01-01T00:00:00.000Z', reason: 'it is good' }],
      digest: go?.approval?.digest,
    });
  });

  test('is bound to every byte that is shown or asked', () => {
    const asked = { summary: 'Go on?', show: { patch: 'one' }, fields: [LANE] };
    const digests = [
      asked,
      { ...asked, show: { patch: 'onf' } },
      { ...asked, show: { patch: 'one', more: null } },
      { ...asked, show: { Patch: 'one' } },
      { ...asked, summary: 'Go on!' },
      { ...asked, summary: null },
      { ...asked, fields: [] },
      { ...asked, fields: [{ ...LANE, required: false }] },
      { ...asked, fields: [{ ...LANE, default: 'fast' }] },
      { ...asked, fields: [{ ...LANE, summary: 'Which?' }] },
    ].map(digestOfAsked);
    expect(new Set(digests).size).toBe(digests.length);
    expect(digestOfAsked({ ...asked, show: { patch: 'one' } })).toBe(digests[0]);
  });

  test('takes no answer that is for something else, and none that is not one', async () => {
    const plan = planOf(step('a'), approve({ fields: [LANE, NOTE], quorum: 2 }));
    const fields = { lane: 'fast' };
    const refused: Array<[Partial<ApprovalAnswer> & { by: string }, string]> = [
      [{ by: 'ada', fields, digest: '0'.repeat(64) }, 'APPROVAL_CHANGED: The answer is for'],
      [{ by: 'ada', fields, digest: '' }, 'names what it is for by its digest'],
      [{ by: '  ', fields }, 'An answer says whose it is'],
      [{ by: 'x'.repeat(300), fields }, 'An answer says whose it is'],
      [{ by: 'ada', fields, reason: 'x'.repeat(2_000) }, 'A reason has at most 1000 bytes'],
      [{ by: 'ada', fields, action: 'maybe' as 'approve' }, 'An answer says `approve` or `reject`'],
      [{ by: 'ada' }, 'The field `lane` is missing. go asks for: lane (one of "fast", "careful")'],
      [{ by: 'ada', fields: { lane: 'slow' } }, 'takes one of "fast", "careful", not `"slow"`'],
      [{ by: 'ada', fields: { ...fields, note: 7 } }, 'The field `note` takes string, not `7`'],
      [{ by: 'ada', fields: { ...fields, why: 'x' } }, 'Nobody asked for a field `why`'],
      [{ by: 'ada', fields: { ...fields, note: 'x'.repeat(40_000) } }, 'at most 32768 may travel'],
      [{ by: 'ada', fields: [] as never }, 'The fields of an answer are a map'],
      [{ by: 'ada', fields, action: 'reject' }, 'A rejection has no fields'],
    ];
    const world = await run(plan, patched('one'), {
      approve: (approval, here) => {
        for (const [given, message] of refused)
          expect(() => answer(approval, here, given)).toThrow(message);
        expect(approval.state.approved).toEqual([]);
        answer(approval, here, { by: 'Ada', fields });
        expect(stateAt(here, 'go')?.note).toBe('waits for approval, 1 of 2 (Ada)');
        expect(() => answer(approval, here, { by: 'ada ', fields })).toThrow(
          'ada has approved go already; a person counts once.',
        );
        expect(() => answer(approval, here, { by: 'A\u200eda\u001b', fields })).toThrow(
          'Ada has approved go already',
        );
        expect(() => answer(approval, here, { by: 'bob', fields: { lane: 'careful' } })).toThrow(
          'All who approve go answer alike, and Ada has answered {"lane":"fast"}.',
        );
        answer(approval, here, { by: 'bob', fields });
        expect(() => answer(approval, here, { by: 'eve', fields })).toThrow('no longer waits');
      },
    });
    expect(world.result).toMatchObject({ status: 'succeeded' });
  });

  test('is rejected by one, also where others have approved: the run stops, `finally` runs, no catch', async () => {
    const guard: PlanStep = {
      kind: 'try',
      key: 'guard',
      steps: [approve({ quorum: 3 }), step('b')],
      catch: [{ as: 'error', steps: [step('caught')] }],
      finally: [step('last')],
    };
    const world = await run(planOf(step('a'), guard), patched('one'), {
      approve: (approval, here) => {
        answer(approval, here, { by: 'ada' });
        answer(approval, here, { by: 'ada', action: 'reject', reason: 'I was wrong' });
      },
    });
    expect(world.result).toMatchObject({
      status: 'stopped',
      error: { code: 'APPROVAL_REJECTED', message: 'ada rejected guard/go: I was wrong' },
    });
    expect(world.paths).toEqual(['a', 'guard/finally/last']);
    expect(stateAt(world, 'guard/go')).toMatchObject({
      status: 'stopped',
      approval: { approved: [{ by: 'ada' }], rejected: { by: 'ada', reason: 'I was wrong' } },
    });
  });

  test('expires at the moment that was settled when it began, wherever the run goes on from', async () => {
    const plan = planOf(step('a'), approve({ expires: lit('1h'), quorum: 2 }));
    const first = await run(plan, patched('one'), {
      approve: (approval, here) => {
        answer(approval, here, { by: 'ada' });
        here.now += 10 * 60_000;
        here.cancel();
      },
    });
    const world = await run(plan, patched('one'), {
      initial: first.state,
      approve: (approval, here) => {
        expect(approval.state).toMatchObject({
          expiresAt: '2026-01-01T01:00:00.000Z',
          approved: [{ by: 'ada' }],
        });
        here.now = Date.parse('2026-01-01T01:00:00.000Z');
        expect(() => answer(approval, here, { by: 'bob' })).toThrow('no longer waits');
      },
    });
    expect(world.result).toMatchObject({
      status: 'stopped',
      error: {
        code: 'APPROVAL_EXPIRED',
        message: 'go had 1 of 2 approvals when it expired at 2026-01-01T01:00:00.000Z.',
      },
    });
  });

  test('does not keep what was approved of something else', async () => {
    const plan = planOf(step('a'), approve({ quorum: 2 }));
    const first = await run(plan, patched('one'), {
      approve: (approval, here) => {
        answer(approval, here, { by: 'ada' });
        here.cancel();
      },
    });
    const { a: _gone, ...rest } = first.state.steps;
    const world = await run(plan, patched('two'), {
      initial: { steps: rest },
      approve: (approval, here) => {
        expect(approval.state.approved).toEqual([]);
        answer(approval, here, { by: 'ada' });
        answer(approval, here, { by: 'bob' });
      },
    });
    expect(world.result).toMatchObject({ status: 'succeeded' });
  });

  test('fails before anybody is asked when it shows too much, or expires at no time', async () => {
    const patch = expr(output('a', 'patch'));
    const twice = approve({
      show: [
        ['patch', patch],
        ['again', patch],
      ],
    });
    const much = await run(planOf(step('a'), twice), patched('x'.repeat(40_000)));
    expect(much.result).toMatchObject({ error: { code: 'STATE_TOO_LARGE', step: 'go' } });
    const never = await run(
      planOf(step('a'), approve({ expires: expr(output('a', 'patch')) })),
      patched('soon'),
    );
    expect(never.result).toMatchObject({ error: { code: 'EXPRESSION_FAILED', step: 'go' } });
  });

  test('is waited for in a `finally` also when the run was cancelled', async () => {
    const guard: PlanStep = {
      kind: 'try',
      key: 'guard',
      steps: [step('a')],
      finally: [approve({ show: [] }), step('b')],
    };
    const world = await run(
      planOf(guard),
      (_request, here) => {
        here.cancel();
        return ok();
      },
      { approve: (approval, here) => answer(approval, here, { by: 'ada' }) },
    );
    expect(world.result).toBe('cancelled');
    expect(world.paths).toEqual(['guard/a', 'guard/finally/b']);
  });

  test('is shown with what it waits for, and the command that shows more', async () => {
    const plan = planOf(step('a'), approve());
    const world = await run(plan, patched('one'), { approve: (_approval, here) => here.cancel() });
    const parked = world.states.find(({ steps }) => steps['go']?.status === 'parked');
    const ids = { runId: 'run-1', roundId: 'run-1' };
    const states = new Map(Object.entries(parked?.steps ?? {}));
    const view = toRunView(plan, states, ids, { status: 'running', outputs: {} });
    expect(view.steps[1]).toMatchObject({ status: 'parked', decide: 'approve run-1 go' });
  });
});

test('several wait at once, in items, each for itself', async () => {
  const each = foreachOf(
    ['x', 'y', 'z'],
    [approve({ show: [['item', expr({ op: 'name', name: 'item' })]] })],
    {
      limit: 3,
      collect: output('go', 'digest'),
    },
  );
  const open: OpenApproval[] = [];
  const world = await run(planOf(each), () => ok(), {
    approve: async (approval, here) => {
      open.push(approval);
      if (open.length < 3) return new Promise((resolve) => setImmediate(resolve));
      // The last one first.
      for (const one of open.toReversed()) answer(one, here, { by: 'ada' });
    },
  });
  expect(world.result).toMatchObject({ status: 'succeeded' });
  expect(stateAt(world, 'each')?.outputs?.['results']).toEqual(
    open.map(({ state }) => state.digest),
  );
});

describe('a retry', () => {
  const plan = planOf(step('a'), approve({ quorum: 2 }), step('b'));
  const both = (approval: OpenApproval, here: World): void => {
    answer(approval, here, { by: 'ada' });
    answer(approval, here, { by: 'bob' });
  };
  const failing = ({ path }: { path: string }) =>
    path === 'b'
      ? ({ kind: 'failed', error: { code: 'PATCH_EMPTY', message: '' }, retryable: false } as const)
      : ok({ patch: 'one' });

  test('keeps what was approved while all before it stays', async () => {
    const { state } = await run(plan, failing, { approve: both });
    expect(Object.keys(toRetryState(plan, state).steps)).toEqual(['a', 'go']);
  });

  test('asks again where a step before it runs again, or where not all had approved', async () => {
    const { state } = await run(plan, failing, { approve: both });
    expect(Object.keys(toRetryState(plan, state, 'a').steps)).toEqual([]);
    const rejected = await run(plan, failing, {
      approve: (approval, here) => {
        answer(approval, here, { by: 'ada' });
        answer(approval, here, { by: 'bob', action: 'reject' });
      },
    });
    expect(Object.keys(toRetryState(plan, rejected.state).steps)).toEqual(['a']);
  });

  test('knows what was approved in an item whose outputs are forgotten', async () => {
    const each = foreachOf(
      ['x', 'y'],
      [approve({ show: [] }), step('b', { with: [['x', expr(output('go', 'digest'))]] })],
    );
    const items = planOf(each);
    const { state } = await run(
      items,
      ({ path }) => failing({ path: path.endsWith('0/b') ? 'b' : 'a' }),
      {
        approve: (approval, here) => answer(approval, here, { by: 'ada' }),
        nested: true,
      },
    );
    expect(state.steps['each#0/go']?.outputs).toBeUndefined();
    expect(toRetryState(items, state).steps['each#0/go']?.outputs).toMatchObject({
      approvals: [{ by: 'ada' }],
      digest: state.steps['each#0/go']?.approval?.digest,
    });
  });
});

// a -> go (quorum 3, of people who come in any order, one of whom may reject) -> b
test('a run that goes on from the state after any event ends as the uninterrupted one', async () => {
  const people = fc.array(
    fc.record({
      by: fc.constantFrom('ada', 'bob', 'cyd', 'dan'),
      action: fc.constantFrom('approve', 'approve', 'approve', 'reject'),
      fields: fc.constantFrom({ lane: 'fast' }, { lane: 'careful' }),
    }),
    { maxLength: 8 },
  );
  await fc.assert(
    fc.asyncProperty(people, async (answers) => {
      const plan = {
        ...planOf(
          step('a'),
          approve({ quorum: 3, fields: [LANE], expires: lit('1h') }),
          step('b', { with: [['x', expr(output('go', 'lane'))]] }),
        ),
        outputs: [['lane', expr(output('go', 'lane'))] as const],
      };
      // Whose approval is in the state has said it, and does not say it again.
      const all =
        (said: readonly string[]) =>
        (approval: OpenApproval, here: World): void => {
          for (const { by, action, fields } of answers) {
            if (action === 'approve' && said.includes(by)) continue;
            const whole = {
              by,
              digest: approval.state.digest,
              action: action as 'approve',
              ...(action === 'approve' ? { fields } : {}),
            };
            if (approval.problemOf(whole, here.now) === null)
              approval.take(whole, new Date(here.now).toISOString());
          }
        };
      const whole = await run(plan, patched('one'), { approve: all([]) });
      for (const initial of whole.states) {
        const approved = initial.steps['go']?.approval?.approved ?? [];
        const said = approved.map(({ by }) => by);
        const again = await run(plan, patched('one'), { initial, approve: all(said) });
        expect(again.result).toEqual(whole.result);
        expect(again.state.steps['go']?.approval ?? initial.steps['go']?.approval).toEqual(
          whole.state.steps['go']?.approval,
        );
      }
    }),
    { numRuns: 100 },
  );
});
