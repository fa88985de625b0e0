import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { taskSchema } from '../compiler/values.js';
import { startRound, taskRecord, TASK_ID, type Round } from '../test/support/coordinator-round.js';
import { coordinatorDiscover, findUnclearSurface } from './coordinator-discover.js';

let round: Round;
beforeEach(async () => {
  round = await startRound();
});
afterEach(() => round.close());

const discover = (slug: string) => coordinatorDiscover.run({ slug }, round.context('discover'));
const serve = (change: object): void => {
  round.fake.tasks[0] = { ...taskRecord, ...change };
};

describe('coordinator.discover', () => {
  it('returns the task and keeps its whole record', async () => {
    const { task } = await discover('TINY-ternary-frontier');
    expect(taskSchema.parse(task)).toMatchObject({
      id: TASK_ID,
      baseRef: 'production',
      resultPath: 'last_run.json',
      minPeerEvaluations: 2,
      isActive: true,
    });
    expect(task).not.toHaveProperty('setupCommand');
    const record = await round.adapters.store.read(task.record);
    expect(JSON.parse(record.toString())).toEqual(taskRecord);
  });

  it('names the live tasks when there is none of that slug', async () => {
    await expect(discover('qwen')).rejects.toMatchObject({
      code: 'TASK_NOT_FOUND',
      message: `The coordinator ${round.fake.url} has no task "qwen".`,
      hint: 'Live are: tiny-ternary-frontier.',
    });
  });

  it.each([
    [
      { task_state: 'paused' },
      'The task "tiny-ternary-frontier" is not live: its state is "paused".',
    ],
    [
      { is_active: false },
      'The task "tiny-ternary-frontier" is not live: its state is "live" and it is not active.',
    ],
  ])('refuses a task that is not live: %o', async (change, message) => {
    serve(change);
    await expect(discover('tiny-ternary-frontier')).rejects.toMatchObject({
      code: 'TASK_NOT_LIVE',
      message,
    });
  });

  it('refuses a competition mode that it cannot take part in', async () => {
    serve({ competition_mode: 'peer_evaluation' });
    await expect(discover('tiny-ternary-frontier')).rejects.toMatchObject({
      code: 'TASK_UNSUPPORTED',
      message:
        'The task "tiny-ternary-frontier" has the competition mode "peer_evaluation", which is not supported.',
    });
  });

  it('refuses an unclear edit surface', async () => {
    serve({ allowed_patch_paths: ['train.py', '../up.py'] });
    await expect(discover('tiny-ternary-frontier')).rejects.toMatchObject({
      code: 'SURFACE_UNCLEAR',
      message: 'The task "tiny-ternary-frontier" has an unclear edit surface: "../up.py" has "..".',
    });
  });
});

describe('findUnclearSurface', () => {
  it.each([
    [[], 'its list of allowed paths is empty'],
    [['a.py', ' '], 'it has an empty path'],
    [['/etc/passwd'], '"/etc/passwd" is absolute'],
    [['C:\\x'], '"C:\\x" is absolute'],
    [['~/x'], '"~/x" is absolute'],
    [['a/../b'], '"a/../b" has ".."'],
    [['*'], '"*" matches everything'],
    [['**/*'], '"**/*" matches everything'],
    [['*.*'], '"*.*" matches everything'],
    [['./*'], '"./*" matches everything'],
    [['[!x]*'], '"[!x]*" matches everything'],
    [['?*'], '"?*" matches everything'],
  ])('%j: %s', (patterns, reason) => {
    expect(findUnclearSurface(patterns)).toBe(reason);
  });

  it.each([[['train.py']], [['packs/*/train.py', 'src/**']], [['*.py']], [['a..b/c']]])(
    '%j is clear',
    (patterns) => {
      expect(findUnclearSurface(patterns)).toBeNull();
    },
  );
});
