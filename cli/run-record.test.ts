import { appendFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createEvidence } from '../adapters/evidence/evidence.js';
import type { ActivityStep, Plan } from '../core/plan.js';
import { evidenceRoots, readRunFromEvidence, toRunStatus, toShowJson } from './run-record.js';

let stateDir: string;

beforeEach(async () => {
  stateDir = await mkdtemp(path.join(tmpdir(), 'adit-record-'));
});

afterEach(() => rm(stateDir, { recursive: true, force: true }));

function step(key: string, uses: string): ActivityStep {
  return {
    kind: 'step',
    key,
    id: key,
    uses,
    with: [],
    host: [],
    optional: [],
    options: { timeoutMs: 1, retry: { attempts: 1, firstMs: 1, factor: 1, mostMs: 1, never: [] } },
  };
}

// source -> candidates: foreach { trained }
const plan: Plan = {
  irVersion: 1,
  pipeline: 'round',
  sourceSha256: '0'.repeat(64),
  network: { coordinator: '', hotkey: '' },
  inputs: {},
  steps: [
    step('source', 'workspace.clone'),
    {
      kind: 'foreach',
      key: 'candidates',
      id: 'candidates',
      items: { kind: 'literal', value: null } as never,
      as: 'recipe',
      limit: 1,
      fail: 'wait',
      steps: [step('trained', 'candidate.train')],
    },
  ],
  outputs: [],
};

const ENDED = {
  runId: 'round-4',
  roundId: 'round-4',
  pipeline: 'round',
  status: 'succeeded',
  stage: '',
  outputs: {},
  steps: [],
};

describe('a run in its evidence folder', () => {
  it('is read whole when it has recorded its end, also from the folder of the demo', async () => {
    const evidence = createEvidence(path.join(stateDir, 'demo'));
    await evidence.writePlan('round-1', plan);
    await evidence.writeRun('round-1', {
      runId: 'round-1',
      roundId: 'round-1',
      pipeline: 'round',
      status: 'stopped',
      stage: 'source',
      outputs: {},
      steps: [{ path: 'source', uses: 'workspace.clone', status: 'pending', attempts: 0 }],
      error: { code: 'GATE_NOT_PASSED', message: 'No gain.', step: 'verdict' },
    });
    const record = await readRunFromEvidence(evidenceRoots(stateDir), 'round-1');
    expect(record && toShowJson(record)).toEqual({
      runId: 'round-1',
      roundId: 'round-1',
      pipeline: 'round',
      status: 'stopped',
      outputs: {},
      steps: [
        {
          path: 'source',
          uses: 'workspace.clone',
          status: 'pending',
          attempts: 0,
          startedAt: null,
          endedAt: null,
        },
      ],
      error: { code: 'GATE_NOT_PASSED', message: 'No gain.', hint: '', step: 'verdict' },
      evidence: path.join(stateDir, 'demo', 'runs', 'round-1'),
    });
  });

  it('is put together from the records of its steps when it has not ended', async () => {
    const evidence = createEvidence(stateDir);
    await evidence.writePlan('round-2', plan);
    const at = '2026-11-21T10:00:00.000Z';
    const record = { uses: 'workspace.clone', start: 1, startedAt: at };
    evidence.writeStep('round-2', {
      ...record,
      path: 'source',
      status: 'succeeded',
      endedAt: at,
    });
    evidence.writeStep('round-2', {
      ...record,
      path: 'candidates#0/trained',
      uses: 'candidate.train',
      start: 2,
      status: 'waiting',
    });
    const found = await readRunFromEvidence(evidenceRoots(stateDir), 'round-2');
    expect(found?.remark).toContain('has not recorded its end');
    expect(found?.view.status).toBe('running');
    expect(
      found?.view.steps.map(({ path: place, status, attempts }) => [place, status, attempts]),
    ).toEqual([
      ['source', 'succeeded', 1],
      ['candidates', 'running', 1],
      ['candidates#0', 'running', 1],
      ['candidates#0/trained', 'running', 2],
    ]);
  });

  it.each([
    ['half a file', '{"runId": "round-4", "sta'],
    ['a status that is none', JSON.stringify({ ...ENDED, status: 'weird' })],
    ['steps that are none', JSON.stringify({ ...ENDED, steps: [null, { path: 'source' }] })],
  ])('is put together from what else is there when its end holds %s', async (_name, text) => {
    const evidence = createEvidence(stateDir);
    await evidence.writePlan('round-4', plan);
    evidence.writeStep('round-4', { path: 'source', status: 'succeeded' });
    await appendFile(path.join(evidence.directory('round-4'), 'steps.jsonl'), '{');
    await writeFile(path.join(evidence.directory('round-4'), 'run.json'), text);
    const found = await readRunFromEvidence(evidenceRoots(stateDir), 'round-4');
    expect(found?.remark).toContain('The record of its end is damaged');
    expect(found?.view.steps.map(({ status }) => status)).toEqual(['succeeded', 'pending']);
  });

  it.each([
    [
      'a plan that is none',
      async (folder: string) => writeFile(path.join(folder, 'plan.json'), '{}'),
    ],
    ['half a plan', async (folder: string) => writeFile(path.join(folder, 'plan.json'), '{"irV')],
  ])('is null when there is only %s', async (_name, damage) => {
    const folder = createEvidence(stateDir).directory('round-5');
    await mkdir(folder, { recursive: true });
    await damage(folder);
    expect(await readRunFromEvidence(evidenceRoots(stateDir), 'round-5')).toBeNull();
  });

  it('is null for a name that no folder can have, and for a file in place of a folder', async () => {
    await mkdir(path.join(stateDir, 'runs'));
    await writeFile(path.join(stateDir, 'runs', 'notes'), '');
    for (const runId of ['x'.repeat(300), '', 'notes'])
      expect(await readRunFromEvidence(evidenceRoots(stateDir), runId)).toBeNull();
  });

  it('is null when no folder has it', async () => {
    expect(await readRunFromEvidence(evidenceRoots(stateDir), 'round-3')).toBeNull();
  });
});

it.each([
  ['RUNNING', 'running'],
  ['CONTINUED_AS_NEW', 'running'],
  ['COMPLETED', 'succeeded'],
  ['FAILED', 'failed'],
  ['CANCELLED', 'cancelled'],
  ['TERMINATED', 'failed'],
  ['TIMED_OUT', 'failed'],
])('Temporal says %s, Adit says %s', (name, status) => {
  expect(toRunStatus(name)).toBe(status);
});
