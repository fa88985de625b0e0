import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { loadWorkerConfig } from './config.js';

let stateDir: string;

beforeEach(() => {
  stateDir = mkdtempSync(path.join(tmpdir(), 'adit-worker-'));
  vi.stubEnv('ADIT_STATE_DIR', stateDir);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(stateDir, { recursive: true });
});

test('a host keeps its name, and with it its queue', () => {
  const { hostQueue, maxHostSteps, stickyTimeoutMs } = loadWorkerConfig();
  expect(hostQueue).toMatch(/^adit\.host\.[a-z0-9-]+-[0-9a-f]{8}$/);
  expect(loadWorkerConfig().hostQueue).toBe(hostQueue);
  expect(readFileSync(path.join(stateDir, 'host-id'), 'utf8').trim()).toBe(
    hostQueue.replace('adit.host.', ''),
  );
  expect(maxHostSteps).toBe(16);
  expect(stickyTimeoutMs).toBe(10_000);
});

test('an empty name is refused: hosts would share a queue', () => {
  const file = path.join(stateDir, 'host-id');
  writeFileSync(file, '');
  expect(loadWorkerConfig).toThrowError(`${file} is empty.`);
});

test.each(['many', '0', '-1', '1e9'])('%s is no number of steps', (text) => {
  vi.stubEnv('ADIT_MAX_HOST_STEPS', text);
  expect(loadWorkerConfig).toThrowError(
    `ADIT_MAX_HOST_STEPS is "${text}", not a number from 1 to 9999.`,
  );
});

test('a run may be told to wait less long for the worker that has it in memory', () => {
  vi.stubEnv('ADIT_STICKY_SECONDS', '1');
  expect(loadWorkerConfig().stickyTimeoutMs).toBe(1_000);
  vi.stubEnv('ADIT_STICKY_SECONDS', '0');
  expect(loadWorkerConfig).toThrowError('ADIT_STICKY_SECONDS is "0", not a number from 1 to 9999.');
});

test('a host that this worker starts may be told a weaker containment, by its name', () => {
  expect(loadWorkerConfig().containment).toBeNull();
  vi.stubEnv('ADIT_CONTAINMENT', 'processGroup');
  expect(loadWorkerConfig().containment).toBe('processGroup');
  vi.stubEnv('ADIT_CONTAINMENT', 'jail');
  expect(loadWorkerConfig).toThrowError(
    'ADIT_CONTAINMENT is "jail", not one of pidNamespace, cgroup, processGroup.',
  );
});

test('a worker beside a host that is a service of its own may be told to start none', () => {
  expect(loadWorkerConfig().startsHost).toBe(true);
  vi.stubEnv('ADIT_START_HOST', 'false');
  expect(loadWorkerConfig().startsHost).toBe(false);
  vi.stubEnv('ADIT_START_HOST', 'no');
  expect(loadWorkerConfig).toThrowError('ADIT_START_HOST is "no", neither true nor false.');
});
