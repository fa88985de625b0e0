import { afterAll, describe, expect, it } from 'vitest';
import type { Candidate, Workspace } from '../compiler/values.js';
import { candidateSelect } from './candidate-select.js';
import { createStepRig } from '../test/fakes/step-context.js';

describe('candidate.select', () => {
  const rig = createStepRig();
  afterAll(() => rig.close());
  const workspace: Workspace = {
    queue: 'adit.host-1',
    path: '/state/workspaces/run-1/source/1/checkout',
    commit: 'c'.repeat(40),
    tree: 'd'.repeat(40),
  };

  const candidate = (
    value: number,
    metric = 'heldout_ppl',
    direction: 'minimize' | 'maximize' = 'minimize',
  ): Candidate => {
    const sha256 = 'a'.repeat(64);
    const fileRef = { uri: `store:${sha256}`, sha256, sizeBytes: 1 };
    return {
      workspace,
      artifact: { file: fileRef },
      measurement: {
        metric,
        value,
        direction,
        fingerprint: {
          command: 'x',
          commit: workspace.commit,
          heldoutSha256: sha256,
          environmentSha256: sha256,
          device: 'cpu',
          runtimeSha256: sha256,
        },
        artifactSha256: sha256,
        tree: workspace.tree,
        log: fileRef,
        measuredAt: '2026-01-01T00:00:00Z',
      },
    };
  };
  const select = (baseline: Candidate, candidates: Candidate[]) =>
    candidateSelect.run({ baseline, candidates }, rig.context('best'));

  it('takes the best in the direction of the task, and tells the gain in nats for a perplexity', async () => {
    const best = candidate(4);
    const result = await select(candidate(8), [candidate(5), best, candidate(4), candidate(9)]);
    expect(result.candidate).toBe(best);
    expect(result).toMatchObject({ gain: Math.log(2), gain_unit: 'nats' });
    const accurate = candidate(0.75, 'accuracy', 'maximize');
    expect(
      await select(candidate(0.5, 'accuracy', 'maximize'), [
        candidate(0.6, 'accuracy', 'maximize'),
        accurate,
      ]),
    ).toEqual({ candidate: accurate, gain: 0.25, gain_unit: 'accuracy' });
  });

  it('stops when there is none, and refuses another metric', async () => {
    await expect(select(candidate(8), [])).rejects.toMatchObject({
      code: 'NO_CANDIDATE',
      message: 'There is no candidate to select from.',
    });
    await expect(select(candidate(8), [candidate(1, 'loss')])).rejects.toMatchObject({
      code: 'STEP_INPUT_INVALID',
    });
    await expect(select(candidate(8), [candidate(-1)])).rejects.toMatchObject({
      code: 'METRIC_NOT_FINITE',
    });
  });
});
