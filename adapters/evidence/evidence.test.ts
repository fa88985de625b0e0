import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { EffectRecord, EffectTry } from '../../core/effect-record.js';
import { removeHold, writeHold } from './effect-hold.js';
import { createEvidence, type Evidence } from './evidence.js';

let folder: string;
let evidence: Evidence;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'adit-evidence-'));
  evidence = createEvidence(folder);
});

afterEach(() => rmSync(folder, { recursive: true }));

describe('the evidence folder', () => {
  test('keeps plan, run and steps of a run in one folder of its own', async () => {
    await evidence.writePlan('run-1', { pipeline: 'p' });
    await evidence.writeRun('run-1', { status: 'succeeded' });
    evidence.writeStep('run-1', 'candidates#0/trained', { status: 'succeeded' });
    expect(await evidence.readPlan('run-1')).toEqual({ pipeline: 'p' });
    expect(await evidence.readRun('run-1')).toEqual({ status: 'succeeded' });
    expect(readdirSync(path.join(evidence.directory('run-1'), 'steps'))).toEqual([
      'candidates#0@trained.json',
    ]);
  });

  test('leaves a plan that is there as it is, and replaces another or a damaged one', async () => {
    const file = path.join(evidence.directory('run-3'), 'plan.json');
    await evidence.writePlan('run-3', { pipeline: 'p' });
    const { ino } = await stat(file);
    await evidence.writePlan('run-3', { pipeline: 'p' });
    expect((await stat(file)).ino).toBe(ino);
    await writeFile(file, '{ "pipeline":');
    await evidence.writePlan('run-3', { pipeline: 'p' });
    expect(await evidence.readPlan('run-3')).toEqual({ pipeline: 'p' });
  });

  test('keeps a step whose path is longer than a file name may be', async () => {
    const long = `${'block/'.repeat(60)}step`;
    evidence.writeStep('run-2', `${long}1`, { path: `${long}1` });
    evidence.writeStep('run-2', `${long}2`, { path: `${long}2` });
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
    expect(await evidence.readEffect('round', 'claim')).toBeNull();
    expect(await evidence.readEffects('round')).toEqual([]);
    expect(await evidence.readEffectsSince(0)).toEqual([]);
  });
});

describe('the audit of effects', () => {
  const record: EffectRecord = {
    version: 1,
    roundId: 'round',
    stepPath: '[13]/claim',
    what: 'claim',
    hotkey: '5x',
    intent: { key: 'k' },
    sentSha256: 'a'.repeat(64),
    recordedAt: '2026-06-24T20:19:03.000Z',
    tries: [],
    probes: [],
    alarms: [],
  };
  const made: EffectTry = {
    runId: 'round',
    start: 1,
    attempt: 1,
    sentAt: '2026-06-24T20:19:04.000Z',
  };

  test('is kept by round and path', async () => {
    await evidence.writeEffect(record);
    expect(await evidence.readEffect('round', '[13]/claim')).toEqual(record);
    expect(await evidence.readEffect('other-round', '[13]/claim')).toBeNull();
    expect(await evidence.readEffects('round')).toEqual([record]);
    expect(await evidence.readEffectsSince(0)).toEqual([record]);
    expect(await evidence.readEffectsSince(Date.now() + 60_000)).toEqual([]);
  });

  test('gives one try to one worker only, and loses none to a late write of the other', async () => {
    await evidence.writeEffect(record);
    const both = await Promise.all([
      evidence.addEffectTry(record, 1, made),
      evidence.addEffectTry(record, 1, { ...made, attempt: 2 }),
    ]);
    expect(both.toSorted()).toEqual([false, true]);
    expect(await evidence.addEffectTry(record, 2, { ...made, attempt: 3 })).toBe(true);
    await evidence.writeEffect(record);
    const now = await evidence.readEffect('round', '[13]/claim');
    expect(now?.tries.map(({ attempt }) => attempt)).toEqual([expect.any(Number), 3]);
  });

  test('takes the intent of the build before for a request that may have been sent', async () => {
    const [name = ''] = await effectFiles('round', record);
    const intent = { what: 'claim', key: 'k', recordedAt: '2026-06-24T20:19:03.000Z' };
    await writeFile(name, JSON.stringify(intent));
    expect(await evidence.readEffect('round', '[13]/claim')).toEqual({
      ...record,
      hotkey: '',
      intent: { what: 'claim', key: 'k' },
      sentSha256: '',
      unseenUntil: '2026-06-24T20:19:03.000Z',
    });
  });

  async function effectFiles(round: string, written: EffectRecord): Promise<string[]> {
    await evidence.writeEffect(written);
    const at = path.join(folder, 'effects', round);
    return (await readdir(at)).map((name) => path.join(at, name));
  }
});

describe('the hold on effects', () => {
  test('is there until it is removed', async () => {
    expect(await evidence.readHold()).toBeNull();
    const hold = { by: 'ann', reason: 'audit', since: '2026-06-24T20:19:03.000Z' };
    await writeHold(folder, hold);
    expect(await evidence.readHold()).toEqual(hold);
    expect(await removeHold(folder)).toBe(true);
    expect(await removeHold(folder)).toBe(false);
    expect(await evidence.readHold()).toBeNull();
  });

  test('holds when its file cannot be understood', async () => {
    await writeFile(path.join(folder, 'hold.json'), '{');
    expect(await evidence.readHold()).toMatchObject({
      by: 'somebody',
      reason: expect.stringContaining('cannot be read as JSON'),
    });
  });
});
