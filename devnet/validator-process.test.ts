import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createValidatorProcess, type ValidatorProcess } from './validator-process.js';

let folder: string;
let entry: string;
let reports: string[];
let validator: ValidatorProcess | null;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-validator-'));
  entry = path.join(folder, 'validator.mjs');
  await writeFile(
    entry,
    'console.log("started", process.argv.slice(2).join(" ")); setInterval(() => {}, 1000);\n',
  );
  reports = [];
  validator = null;
});
afterEach(async () => {
  await validator?.stop();
  await rm(folder, { recursive: true, force: true });
});

function create(): ValidatorProcess {
  validator = createValidatorProcess({
    entry,
    folder,
    args: ['--home', folder],
    report: (line) => void reports.push(line),
  });
  return validator;
}

const log = (): string =>
  existsSync(path.join(folder, 'validator.log'))
    ? readFileSync(path.join(folder, 'validator.log'), 'utf8')
    : '';
const starts = (): number => log().split('started').length - 1;
const isAlive = (pid: number): boolean =>
  existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));

describe('the validator process', () => {
  it('is started again when it dies, and says so', async () => {
    const running = create();
    running.start();
    await expect.poll(starts).toBe(1);
    const { pid } = running.status();
    process.kill(pid ?? 0, 'SIGKILL');
    await expect.poll(starts).toBe(2);
    expect(running.status().pid).not.toBe(pid);
    expect(reports[0]).toMatch(/^the validator ended \(SIGKILL\); submissions wait\. Log: /);
  });

  it('is told when it is stopped by a signal and when it goes on', async () => {
    const running = create();
    running.start();
    await expect.poll(starts).toBe(1);
    process.kill(running.status().pid ?? 0, 'SIGSTOP');
    await expect
      .poll(() => reports)
      .toContain('the validator is stopped by a signal; submissions wait until it goes on');
    process.kill(running.status().pid ?? 0, 'SIGCONT');
    await expect.poll(() => reports).toContain('the validator goes on');
  });

  it('ends with the process that keeps it, also when that is killed', async () => {
    // The keeper holds the validator's standard input as the devnet does, and is killed.
    const running = create();
    running.start();
    await expect.poll(starts).toBe(1);
    const [node, ...args] = readFileSync(
      `/proc/${running.status().pid ?? 0}/cmdline`,
      'utf8',
    ).split('\0');
    const keeper = spawn(
      node ?? '',
      [
        '-e',
        `const child = require('node:child_process').spawn(process.execPath, ${JSON.stringify(args.slice(0, -1))}, { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
         console.log(child.pid); setInterval(() => {}, 1000);`,
      ],
      { stdio: ['ignore', 'pipe', 'ignore'] },
    );
    const [printed] = (await once(keeper.stdout, 'data')) as [Buffer];
    const pid = Number(printed.toString());
    expect(isAlive(pid)).toBe(true);
    keeper.kill('SIGKILL');
    await expect.poll(() => isAlive(pid)).toBe(false);
  });

  it('stays ended after stop, also when a signal had stopped it, until it is started again', async () => {
    const running = create();
    running.start();
    await expect.poll(starts).toBe(1);
    const pid = running.status().pid ?? 0;
    process.kill(pid, 'SIGSTOP');
    await running.stop();
    expect([isAlive(pid), running.status()]).toEqual([false, { running: false, pid: null }]);
    running.start();
    await expect.poll(starts).toBe(2);
  });

  it('ends the one that a killed devnet left behind, and no other process of that number', async () => {
    const leftOver = spawn(process.execPath, [entry, '--home', folder], {
      detached: true,
      stdio: 'ignore',
    });
    const closed = once(leftOver, 'close');
    // Between its fork and its own words it is no program of ours yet.
    await expect
      .poll(() => readFile(`/proc/${String(leftOver.pid)}/cmdline`, 'utf8'))
      .toContain(entry);
    await writeFile(path.join(folder, 'validator.pid'), `${String(leftOver.pid)}\n`);
    create();
    expect(await closed).toEqual([null, 'SIGKILL']);

    const stranger = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
      detached: true,
      stdio: 'ignore',
    });
    await writeFile(path.join(folder, 'validator.pid'), `${String(stranger.pid)}\n`);
    create();
    expect(isAlive(stranger.pid ?? 0)).toBe(true);
    stranger.kill('SIGKILL');
  });
});
