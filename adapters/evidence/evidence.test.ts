import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createEvidence, type Evidence } from './evidence.js';

let folder: string;
let evidence: Evidence;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'adit-evidence-'));
  evidence = createEvidence(folder);
});

afterAll(() => rmSync(folder, { recursive: true }));

describe('the evidence folder', () => {
  test('keeps plan, run and steps of a run in one folder of its own', async () => {
    await evidence.writePlan('run-1', { pipeline: 'p' });
    await evidence.writeRun('run-1', { status: 'succeeded' });
    await evidence.writeStep('run-1', 'candidates#0/trained', { status: 'succeeded' });
    expect(await evidence.readPlan('run-1')).toEqual({ pipeline: 'p' });
    expect(await evidence.readRun('run-1')).toEqual({ status: 'succeeded' });
    expect(readdirSync(path.join(evidence.directory('run-1'), 'steps'))).toEqual([
      'candidates#0@trained.json',
    ]);
  });

  test('keeps a step whose path is longer than a file name may be', async () => {
    const long = `${'block/'.repeat(60)}step`;
    await evidence.writeStep('run-2', `${long}1`, { path: `${long}1` });
    await evidence.writeStep('run-2', `${long}2`, { path: `${long}2` });
    const paths = (await evidence.readSteps('run-2')).map(({ path: at }) => at);
    expect(new Set(paths)).toEqual(new Set([`${long}1`, `${long}2`]));
  });

  test('stays inside the state folder whatever a run is called', () => {
    for (const runId of ['../../etc', '..', '.', '/etc/passwd']) {
      expect(path.dirname(evidence.directory(runId))).toBe(path.join(folder, 'runs'));
    }
  });

  test('knows nothing of a run that was never recorded', async () => {
    expect(await evidence.readRun('other')).toBeNull();
    expect(await evidence.readIntent('round', 'claim')).toBeNull();
  });

  test('keeps an intent by round and path', async () => {
    await evidence.writeIntent('round', '[13]/claim', { key: 'k' });
    expect(await evidence.readIntent('round', '[13]/claim')).toEqual({ key: 'k' });
    expect(await evidence.readIntent('other-round', '[13]/claim')).toBeNull();
  });
});
