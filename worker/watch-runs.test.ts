import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createProcesses, type Processes } from '../adapters/processes/processes.js';
import { createTestHost, type TestHost } from '../test/fakes/process-host.js';
import { isProcessAlive } from '../test/support/processes.js';
import { until } from '../test/support/until.js';
import { endClosedRuns, watchRuns } from './watch-runs.js';

describe('the watch over runs', () => {
  const server = { address: 'temporal:7233', namespace: 'default' };
  let stateDir: string;
  let host: TestHost;
  let opened: Processes[];
  let remarks: string[];

  beforeEach(() => {
    stateDir = mkdtempSync(path.join(tmpdir(), 'adit-watch-'));
    host = createTestHost(stateDir);
    opened = [];
    remarks = [];
  });
  afterEach(async () => {
    for (const each of opened) each.close();
    await host.close();
    rmSync(stateDir, { recursive: true, force: true });
  });

  const processesOf = (of: typeof server): Processes => {
    const made = createProcesses({ stateDir, server: of, startHost: host.startHost });
    opened.push(made);
    return made;
  };

  /** A program of a run that nobody follows any more; returns its pid. */
  async function leaveProgram(runId: string, of = server): Promise<number> {
    const pidFile = path.join(stateDir, `pid-${runId}`);
    const controller = new AbortController();
    const running = processesOf(of)
      .run(
        {
          program: { command: `echo $$ > ${pidFile}.tmp; mv ${pidFile}.tmp ${pidFile}; sleep 60` },
        },
        {
          place: { runId, stepPath: 'trained', start: 1 },
          token: 1,
          limits: { stepMs: null, graceMs: 200, minFreeBytes: 0, outputBytes: 1024 * 1024 },
          signal: controller.signal,
        },
      )
      .catch(() => undefined);
    await until('the program', () => existsSync(pidFile));
    controller.abort(new Error('the worker died'));
    await running;
    return Number(readFileSync(pidFile, 'utf8'));
  }

  const look = (describeRun: (runId: string) => Promise<'open' | 'closed' | 'unknown'>) =>
    endClosedRuns({
      processes: processesOf(server),
      server,
      describeRun,
      onRemark: (text) => remarks.push(text),
    });

  it('ends the programs of runs that are over or not known, and of no other', async () => {
    const over = await leaveProgram('over');
    const lost = await leaveProgram('lost');
    const open = await leaveProgram('open');
    const elsewhere = await leaveProgram('elsewhere', { ...server, namespace: 'other' });
    const asked: string[] = [];
    await look(async (runId) => {
      asked.push(runId);
      return runId === 'over' ? 'closed' : runId === 'lost' ? 'unknown' : 'open';
    });
    expect(asked.sort()).toEqual(['lost', 'open', 'over']);
    const lives = await Promise.all([over, lost, open, elsewhere].map(isProcessAlive));
    expect(lives).toEqual([false, false, true, true]);
    expect(remarks.sort()).toEqual([
      'Ended a program of the run lost, which temporal:7233 does not know.',
      'Ended a program of the run over, which is over.',
    ]);
  });

  it('changes nothing when the server cannot be asked', async () => {
    const pid = await leaveProgram('over');
    await look(() => Promise.reject(new Error('connection refused')));
    expect(await isProcessAlive(pid)).toBe(true);
    expect(remarks).toEqual([
      "A run of this machine's programs could not be looked up or ended: connection refused",
    ]);
  });

  it('ends the programs of a run although that of another cannot be ended or looked up', async () => {
    const pid = await leaveProgram('over');
    await leaveProgram('stuck');
    await leaveProgram('odd');
    const processes = processesOf(server);
    const watch = watchRuns({
      processes: {
        list: async () => (await processes.list()).toSorted((a, b) => (a.runId < b.runId ? 1 : -1)),
        endRun: (runId, reason) =>
          runId === 'stuck' ? new Promise(() => {}) : processes.endRun(runId, reason),
      },
      server,
      describeRun: (runId) =>
        runId === 'odd' ? Promise.reject(new Error('no such name')) : Promise.resolve('closed'),
      onRemark: (text) => remarks.push(text),
      everyMs: 10,
    });
    await until('the end of the program', async () => !(await isProcessAlive(pid)));
    const later = await leaveProgram('later');
    await until('the end of a program after it', async () => !(await isProcessAlive(later)));
    watch.stop();
  });

  it('looks again and again until it is stopped', async () => {
    const pid = await leaveProgram('late');
    let looks = 0;
    const watch = watchRuns({
      processes: processesOf(server),
      server,
      describeRun: async () => {
        looks += 1;
        return looks < 3 ? 'open' : 'closed';
      },
      onRemark: (text) => remarks.push(text),
      everyMs: 10,
    });
    await until('the end of the program', async () => !(await isProcessAlive(pid)));
    watch.stop();
    expect(looks).toBeGreaterThanOrEqual(3);
  });
});
