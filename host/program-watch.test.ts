import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Expr } from '../core/expression.js';
import type { ProgramWatch } from '../core/host-protocol.js';
import type { Json } from '../core/json.js';
import { createProgramWatcher, type ProgramWatcher } from './program-watch.js';

const START = 1_700_000_000_000;
const MIB = 1024 * 1024;

/** `metrics.NAME < limit` */
const below = (name: string, limit: number): Expr => ({
  op: 'call',
  fn: '_<_',
  args: [
    { op: 'member', of: { op: 'name', name: 'metrics' }, key: name },
    { op: 'lit', value: limit },
  ],
});

describe('the watch over a program', () => {
  let folder: string;
  let files: { log: string; metricsFile: string };
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'adit-watch-'));
    files = { log: path.join(folder, 'log'), metricsFile: path.join(folder, 'metrics.jsonl') };
    writeFileSync(files.log, '');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const watcher = (watch?: ProgramWatch, snapshot: Json | null = null): ProgramWatcher =>
    createProgramWatcher(files, watch, snapshot, START);
  const say = (text: string): void => appendFileSync(files.log, text);
  const measure = (metrics: object): void =>
    appendFileSync(files.metricsFile, `${JSON.stringify(metrics)}\n`);
  /** As progress.json brings it back. */
  const stored = (one: ProgramWatcher): Json => JSON.parse(JSON.stringify(one.snapshot())) as Json;

  it('reads numbers from words of the output, from patterns and from the metrics file', async () => {
    const one = watcher({ patterns: { val: 'validation loss: {} nats' } });
    say('step=3/10 loss=2.5\nvalidation loss: 1.25 nats\n');
    measure({ grad: 0.5, phase: 'warm up' });
    expect(await one.look(START)).toEqual({
      metrics: { step: 3, total: 10, loss: 2.5, val: 1.25, grad: 0.5 },
      status: { phase: 'warm up', step: 3, total: 10, loss: 2.5, val: 1.25 },
    });
  });

  it('tells how long it will take from the steps it saw, not from those before a checkpoint', async () => {
    const one = watcher();
    say('step=500/1000\n');
    expect((await one.look(START)).status).toEqual({ step: 500, total: 1000 });
    say('step=510/1000\n');
    expect((await one.look(START + 20_000)).status).toEqual({ step: 510, total: 1000, eta: 980 });
    say('step=2/1000\n');
    expect((await one.look(START + 21_000)).status).toEqual({ step: 2, total: 1000 });
  });

  describe('with a stop condition', () => {
    const watch = { stopWhen: { expr: below('loss', 1), patience: 2 } };

    it('ends the program when it holds at so many looks with new metrics in a row', async () => {
      const one = watcher(watch);
      expect(await one.look(START)).not.toHaveProperty('verdict');
      measure({ loss: 0.5 });
      expect(await one.look(START)).not.toHaveProperty('verdict');
      // Nothing new: the look does not count.
      expect(await one.look(START)).not.toHaveProperty('verdict');
      measure({ loss: 2 });
      expect(await one.look(START)).not.toHaveProperty('verdict');
      measure({ loss: 0.6 });
      expect(await one.look(START)).not.toHaveProperty('verdict');
      measure({ loss: 0.4 });
      expect((await one.look(START)).verdict).toBe('rule');
      expect((await one.look(START)).verdict).toBe('rule');
    });

    it('takes a metric that is reported again for a new one, also when it has the same value', async () => {
      const one = watcher(watch);
      measure({ loss: 0.5 });
      expect(await one.look(START)).not.toHaveProperty('verdict');
      measure({ loss: 0.5 });
      expect((await one.look(START)).verdict).toBe('rule');
    });

    it('goes on counting in a new host', async () => {
      const one = watcher(watch);
      measure({ loss: 0.5 });
      await one.look(START);
      const two = watcher(watch, stored(one));
      expect(await two.look(START)).not.toHaveProperty('verdict');
      measure({ loss: 0.4 });
      expect((await two.look(START)).verdict).toBe('rule');
    });

    it('does not hold while a metric is missing or no truth value comes out', async () => {
      const rules: Expr[] = [
        below('other', 1),
        { op: 'name', name: 'steps' },
        { op: 'lit', value: 7 },
      ];
      for (const expr of rules) {
        const one = watcher({ stopWhen: { expr, patience: 1 } });
        measure({ loss: Math.random() });
        expect(await one.look(START)).not.toHaveProperty('verdict');
      }
    });
  });

  describe('of a program that hangs', () => {
    const watch = { stalledAfterMs: 10_000 };

    it('warns, then gives it up', async () => {
      const one = watcher(watch);
      say('begin\n');
      expect(await one.look(START)).not.toHaveProperty('warning');
      expect(await one.look(START + 9_999)).not.toHaveProperty('warning');
      const warned = await one.look(START + 10_000);
      expect(warned.warning).toBe('no output and no new metric for 10 s');
      expect(warned).not.toHaveProperty('verdict');
      expect((await one.look(START + 20_000)).verdict).toBe('stalled');
    });

    it('takes output, metrics and a metrics file that is written anew for signs of life', async () => {
      const one = watcher(watch);
      measure({ loss: 1 });
      await one.look(START);
      const signs = [
        () => say('.'),
        () => measure({ loss: 1 }),
        () => utimesSync(files.metricsFile, 5, 5),
        () => truncateSync(files.log, 0),
      ];
      for (const [index, sign] of signs.entries()) {
        sign();
        expect(await one.look(START + 15_000 * (index + 1))).not.toHaveProperty('warning');
      }
    });

    it('does not take a sleep of the machine, or a clock that was set, for silence', async () => {
      const one = watcher({ stalledAfterMs: 100_000 });
      await one.look(START);
      expect(await one.look(START + 86_400_000)).not.toHaveProperty('warning');
      expect(await one.look(START)).not.toHaveProperty('warning');
    });

    it('is remembered by a new host', async () => {
      const one = watcher(watch);
      say('begin\n');
      await one.look(START);
      await one.look(START + 12_000);
      const two = watcher(watch, stored(one));
      expect((await two.look(START + 21_000)).verdict).toBe('stalled');
      say('.');
      expect(await two.look(START + 22_000)).not.toHaveProperty('verdict');
    });
  });

  it('goes on in a new host with every number, the phase, and the line that was half written', async () => {
    const one = watcher();
    say('phase=train loss=3\nstep=1');
    measure({ grad: 9 });
    await one.look(START);
    // Nothing is read twice but the line that had no end.
    expect(stored(one)).toMatchObject({ logByte: 'phase=train loss=3\n'.length, metricsByte: 11 });
    const two = watcher(undefined, stored(one));
    say('5 x\n');
    expect(await two.look(START)).toEqual({
      metrics: { loss: 3, grad: 9, step: 15 },
      status: { phase: 'train', loss: 3, step: 15 },
    });
  });

  it.each<[string, Json]>([
    ['a text', 'x'],
    ['an empty object', {}],
    [
      'wrong types',
      { logByte: 'a', metricsByte: -5, latest: [1], held: null, silentMs: 'x', signs: 7, rate: [] },
    ],
    ['places beyond the files', { logByte: 1e15, metricsByte: 1e15 }],
  ])('begins anew with a snapshot that is %s', async (_what, snapshot) => {
    const one = watcher({ stalledAfterMs: 1_000 }, snapshot);
    say('loss=1\n');
    measure({ a: 2 });
    expect((await one.look(START)).metrics).toEqual({ loss: 1, a: 2 });
  });

  it.each([
    [
      'bytes at random',
      () => writeFileSync(files.metricsFile, Buffer.from([0xff, 0xfe, 0, 10, 123, 10])),
    ],
    ['one endless line', () => writeFileSync(files.metricsFile, Buffer.alloc(20 * MIB, '{'))],
    [
      'a hole of a terabyte',
      () => {
        writeFileSync(files.metricsFile, '');
        truncateSync(files.metricsFile, 2 ** 40);
      },
    ],
    ['a pipe', () => execFileSync('mkfifo', [files.metricsFile])],
    ['a link to a device that never ends', () => symlinkSync('/dev/zero', files.metricsFile)],
    [
      'numbers that are none',
      () => writeFileSync(files.metricsFile, '{"a":NaN}\n{"b":1e999}\n[1]\n7\n'),
    ],
    [
      'a name that means something to JavaScript',
      () => writeFileSync(files.metricsFile, '{"__proto__":5}\n'),
    ],
  ])('is not held up by a metrics file with %s', async (_what, prepare) => {
    prepare();
    say('loss=1\n');
    const one = watcher({ stopWhen: { expr: below('loss', 0), patience: 1 } });
    const seen = await one.look(START);
    expect(seen.metrics['loss']).toBe(1);
    expect(JSON.stringify(one.snapshot()).length).toBeLessThan(10_000);
  });

  it('keeps up with 100 MB written at once, and sees the last of it', async () => {
    writeFileSync(files.log, 'loss=2 step=1/9\n'.repeat((100 * MIB) / 16));
    say('loss=0.5\n');
    const one = watcher();
    expect((await one.look(START)).metrics['loss']).toBe(0.5);
  });

  it('goes on behind a line of a gigabyte', async () => {
    truncateSync(files.log, 1024 * MIB);
    const one = watcher();
    await one.look(START);
    const two = watcher(undefined, stored(one));
    say('\nloss=4\n');
    expect((await two.look(START)).metrics).toEqual({ loss: 4 });
  });
});
