import type { Task } from '../../compiler/values.js';

/** A task of a small repository with a `train.py` that may be changed; `changes` replaces members. */
export function createTask(changes: Partial<Task> = {}): Task {
  return {
    id: '11111111-1111-4111-8111-111111111111',
    slug: 'small-frontier',
    title: 'Small frontier',
    repository: 'http://127.0.0.1:9/task.git',
    baseRef: 'production',
    benchmarkCommand: 'python3 pack/benchmark.py',
    resultPath: 'pack/last_run.json',
    allowedPatchPaths: ['pack/train.py'],
    maxPatchBytes: 262_144,
    metricName: 'heldout_ppl',
    metricDirection: 'minimize',
    rankingMode: 'scalar',
    competitionMode: 'standard',
    timeBudgetSeconds: 120,
    taskState: 'live',
    isActive: true,
    record: { uri: `store:${'0'.repeat(64)}`, sha256: '0'.repeat(64), sizeBytes: 2 },
    ...changes,
  };
}
