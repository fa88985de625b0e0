import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { appendFile, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
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
    evidence.writeStep('run-1', { path: 'candidates#0/trained' });
    expect(await evidence.readPlan('run-1')).toEqual({ pipeline: 'p' });
    expect(await evidence.readRun('run-1')).toEqual({ status: 'succeeded' });
    expect(await evidence.readSteps('run-1')).toEqual([{ path: 'candidates#0/trained' }]);
    expect(readdirSync(evidence.directory('run-1')).sort()).toEqual([
      'plan.json',
      'run.json',
      'steps.jsonl',
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

  test('tells of each step what was written last, in the order in which they began', async () => {
    evidence.writeStep('run-2', { path: 'a', status: 'running' });
    evidence.writeStep('run-2', { path: 'b', status: 'running' });
    evidence.writeStep('run-2', { path: 'a', status: 'succeeded' });
    expect(await evidence.readSteps('run-2')).toEqual([
      { path: 'a', status: 'succeeded' },
      { path: 'b', status: 'running' },
    ]);
  });

  test('loses one line where one was cut off, and none after it', async () => {
    await mkdir(evidence.directory('run-2'), { recursive: true });
    const cutOff = '{"path":"a"}\n{"path":"b","outp';
    await writeFile(path.join(evidence.directory('run-2'), 'steps.jsonl'), cutOff);
    evidence.writeStep('run-2', { path: 'c' });
    // Of another worker that was killed in the middle of it.
    await appendFile(path.join(evidence.directory('run-2'), 'steps.jsonl'), '{"path":"x"');
    evidence.writeStep('run-2', { path: 'd' });
    const paths = (await evidence.readSteps('run-2')).map(({ path: at }) => at);
    expect(paths).toEqual(['a', 'c', 'd']);
  });

  test('reads lines of any length in pieces, but for one that is far too long', async () => {
    const texts = [1, 262_143, 262_144, 262_145, 700_000].map((size) => 'é'.repeat(size / 2));
    for (const [at, text] of texts.entries()) evidence.writeStep('run-2', { path: `s${at}`, text });
    evidence.writeStep('run-2', { path: 'huge', text: 'x'.repeat(68_000_000) });
    evidence.writeStep('run-2', { path: 'last' });
    const records = await evidence.readSteps('run-2');
    expect(records.map(({ path: at }) => at)).toEqual(['s0', 's1', 's2', 's3', 's4', 'last']);
    expect(records.slice(0, 5).map(({ text }) => text)).toEqual(texts);
  });

  test('is not held up by a pipe in the place of the records', async () => {
    await mkdir(evidence.directory('run-2'), { recursive: true });
    execFileSync('mkfifo', [path.join(evidence.directory('run-2'), 'steps.jsonl')]);
    expect(await evidence.readSteps('run-2')).toEqual([]);
  });

  test('takes of a step that an older build has tried too the later try', async () => {
    const older = path.join(evidence.directory('run-2'), 'steps');
    await mkdir(older, { recursive: true });
    const write = async (at: string, startedAt: string): Promise<void> =>
      writeFile(path.join(older, `${at}.json`), JSON.stringify({ path: at, startedAt, by: 'old' }));
    await write('a', '2026-11-22T10:00:00.000Z');
    await write('b', '2026-11-22T12:00:00.000Z');
    await write('c', '2026-11-22T10:00:00.000Z');
    await writeFile(path.join(older, 'd.json'), '{"path":');
    const startedAt = '2026-11-22T11:00:00.000Z';
    for (const at of ['a', 'b']) evidence.writeStep('run-2', { path: at, startedAt, by: 'new' });
    const by = (await evidence.readSteps('run-2')).map((record) => [record['path'], record['by']]);
    expect(Object.fromEntries(by)).toEqual({ a: 'new', b: 'old', c: 'old' });
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
