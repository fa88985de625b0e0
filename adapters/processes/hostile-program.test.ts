import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createTestHost, type TestHost } from '../../test/fakes/process-host.js';
import { createProcesses, type Processes, type RunOptions } from './processes.js';

describe('processes and a program that means no good', () => {
  let stateDir: string;
  let cwd: string;
  let host: TestHost;
  let processes: Processes;

  beforeEach(() => {
    stateDir = mkdtempSync(path.join(tmpdir(), 'adit-hostile-'));
    cwd = path.join(stateDir, 'workspace');
    mkdirSync(cwd);
    host = createTestHost(stateDir);
    processes = createProcesses({ stateDir, server: null, startHost: host.startHost });
  });
  afterEach(async () => {
    processes.close();
    await host.close();
    rmSync(stateDir, { recursive: true, force: true });
  });

  const place = () => ({ runId: 'run-1', stepPath: 'measured', start: 1 });
  const options = (token = 1): RunOptions => ({
    place: place(),
    token,
    limits: { stepMs: null, graceMs: 300, minFreeBytes: 0, outputBytes: 1024 * 1024 },
    signal: new AbortController().signal,
  });
  const shell = (command: string) => ({ program: { command }, cwd });

  it.each([
    ['a NUL character in the command', { program: { command: 'echo a\0b' } }],
    ['a command that is too long', { program: { command: `: ${'x'.repeat(200_000)}` } }],
  ])('says that %s cannot be started', async (_what, spec) => {
    await expect(processes.run({ ...spec, cwd }, options())).rejects.toMatchObject({
      code: 'PROGRAM_UNUSABLE',
      message: expect.stringContaining('The program could not be started in') as string,
    });
  });

  it('is not held up by what a program puts in place of its files', async () => {
    const files = processes.files(place());
    const spec = {
      ...shell('rm -r "$D/files"; rm "$D/output/log"; mkfifo "$D/output/log" "$D/metrics.jsonl"'),
      env: { D: files.root },
    };
    const ended = await processes.run(spec, options());
    const again = await processes.run(spec, options(2));
    expect([ended.tail, again.tail, again.adopted]).toEqual(['', '', true]);
    await expect(processes.boundedLog(ended)).rejects.toMatchObject({ code: 'FILE_MISSING' });
    await expect(processes.outputFile(files, 'artifact')).rejects.toMatchObject({
      code: 'OUTPUT_MISSING',
      message: "The program's output file artifact does not exist.",
    });
  });
});
