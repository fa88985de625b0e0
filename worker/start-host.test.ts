import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../test/support/until.js';
import { createHostStarter, type HostStartOptions } from './start-host.js';

describe('the start of a host', () => {
  let stateDir: string;
  let pids: number[];

  beforeEach(() => {
    stateDir = mkdtempSync(path.join(tmpdir(), 'adit-start-host-'));
    pids = [];
  });
  afterEach(async () => {
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Gone already.
      }
    }
    // One that was started last may still be writing.
    await until('the folder to be gone', () => {
      try {
        rmSync(stateDir, { recursive: true, force: true });
        return true;
      } catch {
        return undefined;
      }
    });
  });

  const file = (name: string): string => path.join(stateDir, name);
  const started = (): string[] => readdirSync(stateDir).filter((name) => /^\d+$/.test(name));
  /** Stands in for the host: notes that it was started, and how, then does what `text` says. */
  const starter = (text: string, options: Partial<HostStartOptions> = {}) => {
    const script = file('host.sh');
    writeFileSync(
      script,
      `{ echo "$@"; env; pwd; } > ${stateDir}/$$.tmp; mv ${stateDir}/$$.tmp ${stateDir}/$$; ${text}\n`,
    );
    return createHostStarter({
      stateDir,
      gpus: null,
      searchPath: '/usr/bin:/bin',
      containment: null,
      program: ['/bin/sh', script],
      ...options,
    });
  };
  const first = async (): Promise<string> => {
    const name = await until('a start', () => started()[0]);
    pids.push(Number(name));
    return readFileSync(file(name), 'utf8');
  };

  const failureOf = (start: () => Promise<void>): Promise<unknown> =>
    until('the failure', () =>
      start().then(
        () => undefined,
        (error: unknown) => error,
      ),
    );

  it('is made once while the host lives, in a session of its own', async () => {
    const start = starter('sleep 60');
    await Promise.all([start(), start()]);
    await start();
    await first();
    await start();
    expect(started()).toHaveLength(1);
    const stat = readFileSync(`/proc/${pids[0]}/stat`, 'utf8');
    const [, , , session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    expect(Number(session)).toBe(pids[0]);
  });

  it('tells it what it needs and nothing of the environment of the worker', async () => {
    process.env['ADIT_TEST_SECRET'] = 'do not pass on';
    await starter('sleep 60', { gpus: ['0', '1'], containment: 'processGroup' })();
    delete process.env['ADIT_TEST_SECRET'];
    const [args, ...environment] = (await first()).trim().split('\n');
    expect(args).toBe(
      `--state-dir ${stateDir} --idle-exit 60 --containment processGroup --gpus 0,1`,
    );
    expect(environment.pop()).toBe('/');
    expect(new Set(environment.map((line) => line.split('=')[0]))).toEqual(
      new Set(['HOME', 'LANG', 'PATH', 'PWD']),
    );
  });

  it('says `none` where there is no device', async () => {
    await starter('sleep 60', { gpus: [] })();
    expect((await first()).split('\n')[0]).toMatch(/--gpus none$/);
  });

  it('is made anew when the host has ended', async () => {
    const start = starter('exit 0');
    await start();
    await until('a second start', async () => {
      await start();
      return started().length > 1;
    });
  });

  it('says what the host said when it ends at once, again and again', async () => {
    const start = starter('echo "The state folder lies on a network disk." >&2; exit 78');
    expect(await failureOf(start)).toMatchObject({
      code: 'HOST_UNUSABLE',
      message:
        'The process host of this machine cannot run: The state folder lies on a network disk. The state folder lies on a network disk. The state folder lies on a network disk.',
      hint: `Its log: ${file('host/log')}`,
    });
  });

  it('says that it may be there later when it fails for want of something else', async () => {
    const start = starter('echo "Cannot find module main.js" >&2; exit 1');
    expect(await failureOf(start)).toMatchObject({
      code: 'HOST_UNAVAILABLE',
      message: expect.stringContaining('cannot run: Cannot find module main.js') as string,
    });
  });

  it('does not mind one that found another host', async () => {
    const start = starter('exit 75');
    await until('many starts', async () => {
      await start();
      return started().length > 4;
    });
  });

  it('keeps what the host says in a log, and a long log aside', async () => {
    const start = starter('echo hello; sleep 60');
    await start();
    await first();
    await until('the log', () => readFileSync(file('host/log'), 'utf8') === 'hello\n');
    expect(existsSync(file('host/log.1'))).toBe(false);
    writeFileSync(file('host/log'), 'x'.repeat(5_000_000));
    process.kill(pids[0] ?? 0, 'SIGKILL');
    await until('another start', async () => {
      await start();
      return started().length > 1;
    });
    pids.push(...started().map(Number));
    expect(existsSync(file('host/log.1'))).toBe(true);
  });

  it('says that the program of the host is not there', async () => {
    await expect(starter('', { program: ['/no/such/program'] })()).rejects.toMatchObject({
      code: 'HOST_UNAVAILABLE',
      message: expect.stringContaining('ENOENT') as string,
    });
  });
});
