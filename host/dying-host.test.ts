import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  endOf,
  LIMITS,
  lives,
  PLACE,
  readPid,
  run,
  shellSpec,
  until,
  untilFile,
} from '../test/support/process-host.js';
import type { HostInfo, HostProgramSpec } from '../core/host-protocol.js';
import { connectHost, type HostClient } from './client.js';
import { membersOf } from './program-tree.js';
import { programFiles } from './program-files.js';
import { isEntry } from './program-index.js';
import { readOwner } from './program-records.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

describe('a process host that is killed', () => {
  let built: string;
  let stateDir: string;
  let hosts: ChildProcess[];
  let clients: HostClient[];
  /** For Node, of the hosts that are started from now on. */
  let nodeFlags: readonly string[];

  beforeAll(() => {
    built = mkdtempSync(path.join(tmpdir(), 'adit-built-host-'));
    const config = path.join(built, 'tsconfig.json');
    writeFileSync(
      config,
      JSON.stringify({
        extends: path.join(ROOT, 'tsconfig.json'),
        compilerOptions: {
          noEmit: false,
          rootDir: ROOT,
          outDir: path.join(built, 'dist'),
          typeRoots: [path.join(ROOT, 'node_modules', '@types')],
        },
        include: [path.join(ROOT, 'host', 'main.ts')],
      }),
    );
    writeFileSync(path.join(built, 'package.json'), '{"type":"module","version":"9.9.9"}');
    execFileSync(path.join(ROOT, 'node_modules', '.bin', 'tsc'), ['-p', config]);
  });
  afterAll(() => rmSync(built, { recursive: true, force: true }));

  beforeEach(() => {
    stateDir = mkdtempSync(path.join(tmpdir(), 'adit-dying-'));
    hosts = [];
    clients = [];
    nodeFlags = [];
  });
  afterEach(async () => {
    nodeFlags = [];
    if ((await connectHost(stateDir)) === null) await startHost();
    const client = await connect();
    await client.call('endRun', { runId: PLACE.runId, reason: 'killed' });
    for (const one of clients) one.close();
    for (const host of hosts) host.kill('SIGKILL');
    rmSync(stateDir, { recursive: true, force: true });
  });

  async function startHost(...flags: string[]): Promise<ChildProcess & { info: HostInfo }> {
    const main = path.join(built, 'dist', 'host', 'main.js');
    const level = flags.includes('--containment') ? [] : ['--containment', 'processGroup'];
    const args = [
      ...nodeFlags,
      main,
      '--state-dir',
      stateDir,
      '--gpus',
      'none',
      ...level,
      ...flags,
    ];
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    hosts.push(child);
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (said += text));
    const line = await new Promise<string>((resolve, reject) => {
      child.stdout?.once('data', (data: Buffer) => resolve(String(data)));
      child.once('exit', () => reject(new Error(said)));
    });
    return Object.assign(child, { info: JSON.parse(line) as HostInfo });
  }

  async function connect(): Promise<HostClient> {
    const client = await connectHost(stateDir);
    if (client === null) throw new Error('No host listens.');
    clients.push(client);
    return client;
  }

  async function kill(host: ChildProcess): Promise<void> {
    const gone = once(host, 'exit');
    host.kill('SIGKILL');
    await gone;
  }

  const file = (name: string) => path.join(stateDir, name);
  const files = (start = 1) => programFiles(stateDir, { ...PLACE, start });

  it('says on one line who it is when it serves, and stops on TERM without its programs', async () => {
    const host = await startHost();
    expect(host.info).toMatchObject({ ready: true, pid: host.pid, build: '9.9.9' });
    const client = await connect();
    run(client, shellSpec(`echo $$ > ${file('pid')}; sleep 60`)).catch(() => {});
    const pid = await readPid(file('pid'));
    const index = (): string[] =>
      readdirSync(file('host/programs')).map((name) => path.extname(name));
    // Also the shim of the next program is there, and ends with the host.
    await until(() => index().includes('.spare'));
    const gone = once(host, 'exit');
    host.kill('SIGTERM');
    expect((await gone)[0]).toBe(0);
    expect(lives(pid)).toBe(true);
    expect(index()).toEqual(['.json']);
  });

  it.each([
    [['--state-dir', ''], '--state-dir is missing.'],
    [['--idle-exit', 'soon'], '--idle-exit is soon, not a number of seconds above 0.'],
    [['--gpus', '0,0'], '--gpus is 0,0, not a list of different ids such as 0,1.'],
    [
      ['--containment', 'jail'],
      '--containment is jail, not one of pidNamespace, cgroup, processGroup.',
    ],
  ])('refuses %j, and says why', async (flags, why) => {
    await expect(startHost(...flags)).rejects.toThrow(why);
  });

  it('is told by the lock who has the state folder', async () => {
    const host = await startHost();
    await expect(startHost()).rejects.toThrow(
      `Another process host has ${file('host')}: process ${host.pid} of build 9.9.9`,
    );
  });

  it.each([
    ['processGroup', ['--containment', 'processGroup']],
    ['the strongest level that there is', ['--containment', 'pidNamespace']],
  ])('leaves a program to the next host, at %s', async (_level, flags) => {
    const host = await startHost(...flags).catch(() => null);
    // This machine does not allow it.
    if (host === null) return;
    const spec = shellSpec(
      `echo up > ${file('up')}; while [ ! -e ${file('go')} ]; do sleep 0.02; done; exit 3`,
    );
    const first = run(await connect(), spec);
    const broken = expect(first).rejects.toMatchObject({ code: 'HOST_UNAVAILABLE' });
    await untilFile(file('up'));
    await kill(host);
    await broken;
    await startHost(...flags);
    const second = run(await connect(), spec, { token: 2 });
    writeFileSync(file('go'), '');
    expect(await second).toMatchObject({ end: { cause: 'exited', code: 3 }, adopted: true });
  });

  it('ends the whole tree in a pid namespace: setsid, double fork, no environment, no ear for TERM', async () => {
    const host = await startHost('--containment', 'pidNamespace').catch(() => null);
    if (host === null) return;
    const escape = `setsid env -i /bin/sh -c 'trap "" TERM; (echo up > ${file('up')}; while :; do sleep 1; done) & exit' &`;
    const client = await connect();
    const running = run(client, shellSpec(`${escape}\nsleep 60`));
    await untilFile(file('up'));
    const owner = readOwner(files().root);
    if (owner === null) throw new Error('There is no owner.');
    expect((await membersOf(owner)).length).toBeGreaterThan(3);
    await client.call('endRun', { runId: PLACE.runId, reason: 'cancelled' });
    expect(await membersOf(owner)).toEqual([]);
    expect(await endOf(running)).toMatchObject({ cause: 'requested' });
  });

  /** A program that no two of may be alive, and that counts its starts. */
  const witness = (): HostProgramSpec =>
    shellSpec(
      [
        `echo start >> ${file('starts')}`,
        `mkdir ${file('alone')} || { echo overlap >> ${file('overlap')}; exit 1; }`,
        `while [ ! -e ${file('go')} ]; do sleep 0.02; done`,
        `rmdir ${file('alone')}`,
      ].join('\n'),
    );

  it.each([
    ['its index entry', () => readdirSync(file('host/programs')).some(isEntry)],
    ['its spec', () => existsSync(path.join(files().root, 'spec.json'))],
    ['its log', () => existsSync(files().log)],
    ['its owner', () => existsSync(path.join(files().root, 'owner.json'))],
    ['its first word', () => existsSync(file('alone'))],
  ])(
    'never has two programs alive, nor one unrecorded, when it dies at %s',
    async (_what, isThere) => {
      const host = await startHost();
      run(await connect(), witness()).catch(() => {});
      await until(isThere);
      await kill(host);
      await startHost();
      const client = await connect();
      let isOver = false;
      const again = run(client, witness(), { token: 2 }).finally(() => (isOver = true));
      await until(async () => {
        const { programs } = await client.call('list', {});
        // Over: what is lost may be gone before anybody can ask for it.
        return programs.length > 0 || existsSync(file('starts')) || isOver;
      });
      writeFileSync(file('go'), '');
      const end = await endOf(again);
      const starts = existsSync(file('starts')) ? readFileSync(file('starts'), 'utf8') : '';
      expect(existsSync(file('overlap'))).toBe(false);
      // Recorded, but the word was never given: it is lost, and nothing of it ran.
      if (end.cause === 'lost') expect(starts).toBe('');
      else expect([end.cause, end.code, starts]).toEqual(['exited', 0, 'start\n']);
      expect(readdirSync(file('host/programs')).filter(isEntry)).toEqual([]);
    },
  );

  it('has lost what it recorded and gave no word to, and nothing of that ran', async () => {
    nodeFlags = ['--import', diesAtRecord('owner.json')];
    const host = await startHost();
    const gone = once(host, 'exit');
    nodeFlags = [];
    run(await connect(), witness()).catch(() => {});
    await gone;
    expect(readOwner(files().root)).not.toBe(null);
    await startHost();
    const again = await run(await connect(), witness(), { token: 2 });
    expect(again).toMatchObject({ end: { cause: 'lost' }, adopted: true });
    expect(existsSync(file('starts'))).toBe(false);
    expect(readdirSync(file('host/programs')).filter(isEntry)).toEqual([]);
  });

  it('loses no end when it dies just as the program does', async () => {
    for (let round = 1; round <= 5; round += 1) {
      const host = await startHost();
      const changes = { stepPath: `round${round}` };
      const spec = shellSpec('exit 7');
      const { log } = programFiles(stateDir, { ...PLACE, ...changes });
      const reply = run(await connect(), spec, changes).catch(() => null);
      await until(() => existsSync(log));
      const exit = path.join(path.dirname(path.dirname(log)), 'exit.json');
      if (round % 2 === 0) await reply;
      else await until(() => readFileSync(exit, 'utf8').startsWith('{'));
      await kill(host);
      await reply;
      const next = await startHost();
      expect(await run(await connect(), spec, { ...changes, token: 2 })).toMatchObject({
        end: { cause: 'exited', code: 7 },
        adopted: true,
      });
      await kill(next);
    }
  });

  it('ends its programs well where it was told to, and the next host begins the next start', async () => {
    const host = await startHost('--end-programs');
    const spec = shellSpec(
      `trap 'echo saved; exit 0' TERM; echo $$ > ${file('pid')}; while :; do sleep 0.02; done`,
      { limits: { ...LIMITS, graceMs: 20_000 } },
    );
    run(await connect(), spec).catch(() => {});
    const pid = await readPid(file('pid'));
    const gone = once(host, 'exit');
    host.kill('SIGTERM');
    await gone;
    expect(lives(pid)).toBe(false);
    expect(readFileSync(files().log, 'utf8')).toContain('saved\n');
    await startHost();
    expect(await endOf(run(await connect(), spec, { token: 2 }))).toMatchObject({
      cause: 'requested',
      reason: 'superseded',
    });
  });

  it('keeps a result on a full disk, and says so when it cannot start', async () => {
    const disk = file('disk');
    mkdirSync(disk);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk], { stdio: 'ignore' });
    } catch {
      return;
    }
    try {
      for (const name of ['host', 'runs']) {
        mkdirSync(path.join(disk, name), { mode: 0o700 });
        symlinkSync(path.join(disk, name), file(name));
      }
      rmSync(file('host'));
      await startHost();
      const client = await connect();
      const running = run(
        client,
        shellSpec(
          `echo up > ${file('up')}; while [ ! -e ${file('go')} ]; do sleep 0.02; done; exit 5`,
        ),
      );
      await untilFile(file('up'));
      fill(disk);
      const full = run(client, shellSpec('true'), { stepPath: 'other' });
      await expect(full).rejects.toMatchObject({
        code: 'DISK_FULL',
        message: 'No space is left for the records of a program.',
      });
      writeFileSync(file('go'), '');
      expect(await endOf(running)).toMatchObject({ cause: 'exited', code: 5 });
      for (const host of hosts) if (host.exitCode === null) await kill(host);
      await startHost();
      expect(
        await run(
          await connect(),
          shellSpec(
            `echo up > ${file('up')}; while [ ! -e ${file('go')} ]; do sleep 0.02; done; exit 5`,
          ),
          { token: 2 },
        ),
      ).toMatchObject({ end: { cause: 'exited', code: 5 }, adopted: true });
    } finally {
      for (const client of clients) client.close();
      for (const host of hosts) host.kill('SIGKILL');
      execFileSync('umount', ['-l', disk]);
      rmSync(file('runs'));
    }
  });

  function fill(folder: string): void {
    for (let count = 0; statfsSync(folder).bfree > 0; count += 1) {
      try {
        writeFileSync(path.join(folder, `fill${count}`), 'x'.repeat(65_536));
      } catch {
        break;
      }
    }
  }
});

/** A module that has its process die in the moment after it put a record of this name in its place. */
function diesAtRecord(name: string): string {
  const source = `
    import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    const { renameSync } = fs;
    fs.renameSync = (from, to) => {
      renameSync(from, to);
      if (to.endsWith('/${name}')) process.kill(process.pid, 'SIGKILL');
    };
    syncBuiltinESMExports();`;
  return `data:text/javascript,${encodeURIComponent(source)}`;
}
