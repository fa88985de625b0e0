import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createHash, randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createTestHost,
  endOf,
  LIMITS,
  lives,
  PLACE,
  readPid,
  run,
  shellSpec,
  until,
  type TestHost,
} from '../test/support/process-host.js';
import type { HostProgramSpec, ProgramEvent } from '../core/host-protocol.js';
import { canonicalJson } from '../core/canonical-json.js';
import { signLock } from './host-record.js';
import { isLocked } from './lock.js';
import { programFiles } from './program-files.js';
import { isEntry, lockFileOf } from './program-index.js';
import { identify } from './process-table.js';

describe('a process host after another', () => {
  let host: TestHost;
  beforeEach(async () => {
    host = createTestHost();
    await host.start();
  });
  afterEach(() => host.end());

  const shell = (command: string, changes: Partial<HostProgramSpec> = {}) =>
    shellSpec(command, { cwd: host.cwd, ...changes });
  const file = (name: string) => host.file(name);
  const files = (start = 1) => programFiles(host.stateDir, { ...PLACE, start });
  const record = (name: string) => path.join(files().root, name);
  const index = () => readdirSync(file('host/programs')).filter(isEntry);
  const untilGo = `while [ ! -e "$GO" ]; do sleep 0.02; done`;
  const waiting = (then = '') =>
    shell(`echo $$ > ${file('pid')}; ${untilGo}; ${then}`, {
      env: { PATH: '/usr/bin:/bin', GO: file('go') },
    });
  /** Starts a program and stops the host that did. */
  async function leave(spec: HostProgramSpec): Promise<number> {
    const client = await host.connect();
    run(client, spec).catch(() => {});
    return readPid(file('pid'));
  }

  it('follows a program to its end, and says what it was', async () => {
    const pid = await leave(waiting('exit 6'));
    await host.restart();
    expect(lives(pid)).toBe(true);
    const events: ProgramEvent[] = [];
    const followed = run(await host.connect(), waiting('exit 6'), {
      token: 2,
      onEvent: (event) => events.push(event),
    });
    await until(() => events.length > 0);
    writeFileSync(file('go'), '');
    expect(await followed).toMatchObject({ end: { cause: 'exited', code: 6 }, adopted: true });
    expect(index()).toEqual([]);
  });

  it('finds the end of a program that ended while there was no host', async () => {
    const pid = await leave(waiting('exit 6'));
    await host.stop();
    writeFileSync(file('go'), '');
    await until(() => !lives(pid) && readFileSync(record('exit.json'), 'utf8').startsWith('{'));
    await host.start();
    const result = await run(await host.connect(), waiting('exit 6'), { token: 2 });
    expect(result).toMatchObject({ end: { cause: 'exited', code: 6 }, adopted: true });
  });

  it('says that a program is lost when it was killed with its shim while there was no host', async () => {
    const pid = await leave(waiting());
    await host.stop();
    const owner = JSON.parse(readFileSync(record('owner.json'), 'utf8')) as {
      leader: { pid: number };
    };
    process.kill(-owner.leader.pid, 'SIGKILL');
    await until(() => !lives(pid));
    await host.start();
    const result = await run(await host.connect(), waiting(), { token: 2 });
    expect(result).toMatchObject({ end: { cause: 'lost' }, adopted: true });
    expect(index()).toEqual([]);
  });

  it('goes on with an end that the host before it began', async () => {
    const spec = shell(`trap '' TERM; echo $$ > ${file('pid')}; while :; do sleep 0.05; done`, {
      limits: { ...LIMITS, graceMs: 3_600_000 },
    });
    const pid = await leave(spec);
    const client = await host.connect();
    client.call('endRun', { runId: PLACE.runId, reason: 'cancelled' }).catch(() => {});
    await until(() => readFileSync(record('ending.json'), 'utf8').startsWith('{'));
    await host.stop();
    const spec1 = JSON.parse(readFileSync(record('spec.json'), 'utf8')) as object;
    writeFileSync(record('spec.json'), JSON.stringify({ ...spec1, limits: LIMITS }));
    await host.start();
    const result = await run(await host.connect(), spec, { token: 2 });
    expect(result).toMatchObject({ end: { cause: 'requested', reason: 'cancelled' } });
    expect(lives(pid)).toBe(false);
  });

  it('keeps the limit of a program that nobody follows', async () => {
    const pid = await leave({
      ...waiting(),
      limits: { ...LIMITS, stepMs: 5_000 },
    });
    await host.restart();
    await until(() => !lives(pid));
    const result = await run(await host.connect(), waiting(), { token: 2 });
    expect(result).toMatchObject({ end: { cause: 'limit' }, adopted: true });
  });

  it('takes a program of another boot for lost, and the end that it recorded for its end', async () => {
    const pid = await leave(waiting());
    await host.stop();
    const change = (name: string, changes: object): void => {
      const old = JSON.parse(readFileSync(record(name), 'utf8')) as { leader: object };
      writeFileSync(
        record(name),
        JSON.stringify({ ...old, leader: { ...old.leader, ...changes } }),
      );
    };
    change('owner.json', { bootId: randomUUID() });
    await host.start();
    const lost = await run(await host.connect(), waiting(), { token: 2 });
    expect(lost).toMatchObject({ end: { cause: 'lost' }, adopted: true });
    // That of this boot is not touched: it is not what the record speaks of.
    expect(lives(pid)).toBe(true);
    writeFileSync(file('go'), '');
    await until(() => !lives(pid));
  });

  it('does not take a process with the same pid for the program', async () => {
    const pid = await leave(waiting());
    await host.stop();
    writeFileSync(file('go'), '');
    await until(() => !lives(pid) && readFileSync(record('exit.json'), 'utf8').startsWith('{'));
    writeFileSync(record('exit.json'), `${' '.repeat(255)}\n`);
    const stranger = spawn('sleep', ['60'], { detached: true });
    const identity = await identify(stranger.pid ?? 0);
    const owner = JSON.parse(readFileSync(record('owner.json'), 'utf8')) as { leader: object };
    const leader = { ...identity, startTicks: (identity?.startTicks ?? 0) - 1 };
    writeFileSync(record('owner.json'), JSON.stringify({ ...owner, leader }));
    await host.start();
    expect(await run(await host.connect(), waiting(), { token: 2 })).toMatchObject({
      end: { cause: 'lost' },
    });
    expect(lives(stranger.pid ?? 0)).toBe(true);
    stranger.kill('SIGKILL');
  });

  describe('with a program in another pid namespace', () => {
    /** Its pid means nothing here, so that only its lock tells that it lives. */
    async function leaveElsewhere(): Promise<void> {
      const pid = await leave(waiting());
      await host.stop();
      const owner = JSON.parse(readFileSync(record('owner.json'), 'utf8')) as { leader: object };
      const leader = { ...owner.leader, pidNamespace: 'pid:[1]' };
      writeFileSync(record('owner.json'), JSON.stringify({ ...owner, leader }));
      expect(lives(pid)).toBe(true);
    }

    it('knows at once that it is gone when nobody holds its lock', async () => {
      await leaveElsewhere();
      writeFileSync(file('go'), '');
      await until(() => readFileSync(record('exit.json'), 'utf8').startsWith('{'));
      const [lock] = index();
      await until(async () => !(await isLocked(file(`host/programs/${lock}`))));
      await host.start();
      const second = run(await host.connect(), shell('true'), { start: 2, token: 2 });
      expect(await endOf(second)).toMatchObject({ cause: 'exited', code: 0 });
    });

    it('asks the lock that an earlier build put beside the entry', () => {
      const marker = randomUUID();
      const folder = file('host/programs');
      expect(lockFileOf(folder, marker)).toBe(path.join(folder, `${marker}.json`));
      writeFileSync(path.join(folder, `${marker}.lock`), '');
      expect(lockFileOf(folder, marker)).toBe(path.join(folder, `${marker}.lock`));
    });

    it('follows it by its lock, and says that it cannot end it', async () => {
      await leaveElsewhere();
      await host.start();
      const client = await host.connect();
      const events: ProgramEvent[] = [];
      const followed = run(client, waiting('exit 0'), {
        token: 2,
        onEvent: (event) => events.push(event),
      });
      await until(() => events.length > 0);
      expect(events[0]).toMatchObject({
        kind: 'waiting',
        reason: expect.stringContaining('another pid namespace') as string,
      });
      const reason = 'cancelled';
      const refusal = {
        code: 'HOST_UNUSABLE',
        message: `Start 1 of step ${PLACE.stepPath} of run run-1 lives in another pid namespace of this machine, where this process host cannot signal it.`,
      };
      await expect(
        client.call('end', { runId: PLACE.runId, stepPath: PLACE.stepPath, token: 2, reason }),
      ).rejects.toMatchObject(refusal);
      await expect(run(client, waiting(), { start: 2, token: 2 })).rejects.toMatchObject(refusal);
      writeFileSync(file('go'), '');
      expect(await followed).toMatchObject({ end: { cause: 'exited' }, adopted: true });
    });
  });

  it.each(['start', 'end'] as const)(
    'ends at a %s what lives although the folder of the host was removed',
    async (way) => {
      const pid = await leave(waiting());
      await host.stop();
      rmSync(file('host'), { recursive: true });
      await host.start();
      const client = await host.connect();
      if (way === 'start') await run(client, shell('true'), { start: 2, token: 2 });
      else {
        const { runId, stepPath } = PLACE;
        const params = { runId, stepPath, token: 2, reason: 'confirm' } as const;
        expect(await client.call('end', params)).toEqual({ ended: 1 });
      }
      expect(lives(pid)).toBe(false);
    },
  );

  it('ends itself when its folder is removed, and leaves the next one alone', async () => {
    const pid = await leave(waiting());
    rmSync(file('host'), { recursive: true });
    await host.start();
    await until(() =>
      host.remarks.some((text) => text.includes('was removed, so this process host ends')),
    );
    const followed = run(await host.connect(), waiting(), { token: 2 });
    writeFileSync(file('go'), '');
    expect(await followed).toMatchObject({ end: { cause: 'exited' }, adopted: true });
    expect(lives(pid)).toBe(false);
    expect(existsSync(file('host/socket'))).toBe(true);
  });

  it('removes what was prepared and never began', async () => {
    await host.stop();
    const marker = randomUUID();
    const entry = { version: 2, ...PLACE, marker };
    writeFileSync(file(`host/programs/${marker}.json`), JSON.stringify(entry));
    writeFileSync(file(`host/programs/${marker}.lock`), '');
    writeFileSync(file(`host/programs/${randomUUID()}.json`), '{"half');
    mkdirSync(files().root, { recursive: true });
    writeFileSync(record('exit.json'), ' '.repeat(256));
    await host.start();
    expect(index()).toEqual([]);
    const client = await host.connect();
    expect(await run(client, shell('true'), { mayStart: false })).toEqual({ absent: true });
    expect(await run(client, shell('true'))).toMatchObject({ adopted: false });
  });

  it('is not kept from a disk that is full', () => {
    expect(() => signLock('/dev/full', 'a build')).not.toThrow();
  });

  it('refuses records that a newer build wrote', async () => {
    await run(await host.connect(), shell('true'));
    const spec = JSON.parse(readFileSync(record('spec.json'), 'utf8')) as object;
    writeFileSync(record('spec.json'), JSON.stringify({ ...spec, version: 99 }));
    await expect(run(await host.connect(), shell('true'), { token: 2 })).rejects.toMatchObject({
      code: 'HOST_UNUSABLE',
      message: `A newer build of Adit wrote the records in ${files().root}.`,
    });
  });

  describe('reads what a worker of the build before wrote', () => {
    const env = { PATH: '/usr/bin:/bin' };
    const writeOld = (name: string, value: object): void =>
      writeFileSync(record(name), JSON.stringify({ version: 1, ...value }));
    const spec = (): HostProgramSpec => ({ ...shell('exit 0'), env });
    function writeOldSpec(): void {
      mkdirSync(path.join(files().root, 'output'), { recursive: true });
      writeOld('spec.json', {
        argv: spec().argv,
        cwd: host.cwd,
        envNames: Object.keys(env),
        envSha256: createHash('sha256').update(canonicalJson(env)).digest('hex'),
      });
    }
    const gone = { pid: 1, startTicks: -1, bootId: 'x', marker: 'm', scheduledAtMs: 1_000 };

    it('an exit is a result', async () => {
      writeOldSpec();
      writeOld('owner.json', gone);
      writeFileSync(record('exit.json'), `{"code":9}${' '.repeat(245)}\n`);
      const client = await host.connect();
      const result = await run(client, spec(), { token: 2_000, mayStart: false });
      expect(result).toMatchObject({ end: { cause: 'exited', code: 9 }, adopted: true });
      await expect(run(client, spec(), { token: 999 })).rejects.toMatchObject({
        code: 'PROGRAM_TAKEN_OVER',
      });
    });

    it('an exit that the worker caused is none', async () => {
      writeOldSpec();
      writeOld('owner.json', gone);
      writeOld('ending.json', { marker: 'm', cause: 'time limit' });
      writeFileSync(record('exit.json'), `{"code":143}`);
      const result = await run(await host.connect(), spec(), { token: 2_000, mayStart: false });
      expect(result).toEqual({ absent: true });
    });

    it('a living program is ended before a new start', async () => {
      writeOldSpec();
      const marker = randomUUID();
      const child = spawn('sleep', ['60'], { detached: true, env: { ADIT_PROCESS_ID: marker } });
      const identity = await identify(child.pid ?? 0);
      writeOld('owner.json', { ...identity, marker, scheduledAtMs: 1_000 });
      await run(await host.connect(), spec(), { start: 2, token: 2_000 });
      expect(lives(child.pid ?? 0)).toBe(false);
    });
  });

  it('keeps nobody waiting for a host that is gone: a host that starts takes its socket', async () => {
    const socket = file('host/socket');
    await host.stop();
    expect(existsSync(socket)).toBe(false);
    writeFileSync(socket, '');
    rmSync(socket);
    await host.start();
    expect((await host.connect()).info.pid).toBe(process.pid);
  });

  it('reports the cause of an end that a follower did not see', async () => {
    const pid = await leave(waiting());
    const client = await host.connect();
    await client.call('endRun', { runId: PLACE.runId, reason: 'killed' });
    expect(lives(pid)).toBe(false);
    await host.restart();
    expect(await endOf(run(await host.connect(), waiting(), { token: 2 }))).toMatchObject({
      cause: 'requested',
      reason: 'killed',
    });
  });
});
