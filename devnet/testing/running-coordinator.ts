/** A coordinator on a port of its own with a fresh database: what the tests of its rules run against. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createCoordinator } from '../coordinator/coordinator.js';
import { createSettingsStore } from '../coordinator/settings.js';
import { createCoordinatorState, type CoordinatorState } from '../coordinator/state.js';
import { createRequestCounters } from '../service/counters.js';
import { createFaultPlan } from '../service/faults.js';
import { createClock } from '../state/clock.js';
import { openDatabase } from '../state/database.js';
import { asAdmin, type Reply } from './network-client.js';

const ADMIN_TOKEN = 'the operator';

export interface RunningCoordinator {
  readonly url: string;
  readonly state: CoordinatorState;
  /** How many acceptances the Pool was told of. */
  accepted(): number;
  admin(method: string, path: string, body?: unknown): Promise<Reply>;
  set(settings: Record<string, unknown>): Promise<void>;
  /** A new task, live; its id. */
  addTask(fields: Record<string, unknown>): Promise<string>;
  close(): Promise<void>;
}

export async function runCoordinator(): Promise<RunningCoordinator> {
  const home = await mkdtemp(path.join(tmpdir(), 'adit-coordinator-'));
  const database = openDatabase(home);
  let accepted = 0;
  const state = createCoordinatorState({
    database,
    clock: createClock(database),
    settings: createSettingsStore(database),
    onAccepted: () => {
      accepted += 1;
    },
  });
  let url = '';
  const app = createCoordinator({
    state,
    adminToken: ADMIN_TOKEN,
    baseUrl: () => url,
    faults: createFaultPlan(),
    counters: createRequestCounters(),
    controls: {
      publishEpoch: () => null,
      validator: () => ({ running: false, pid: null }),
      stopValidator: async () => undefined,
      startValidator: () => undefined,
      beginAnew: async () => undefined,
    },
  });
  url = await app.listen({ host: '127.0.0.1', port: 0 });
  const admin: RunningCoordinator['admin'] = async (method, at, body) =>
    asAdmin(url, ADMIN_TOKEN, method, at, body);
  return {
    url,
    state,
    accepted: () => accepted,
    admin,
    set: async (settings) => {
      const { status, text } = await admin('PUT', '/devnet/settings', settings);
      if (status !== 200) throw new Error(text);
    },
    addTask: async (fields) => {
      const { status, text, json } = await admin('POST', '/api/v1/tasks', {
        slug: `task-${Math.random()}`,
        title: 'A task',
        repository: 'https://example.org/task.git',
        base_ref: 'production',
        benchmark_command: 'python3 pack/benchmark.py',
        allowed_patch_paths: ['pack/train.py'],
        metric_name: 'heldout_ppl',
        metric_direction: 'minimize',
        time_budget_seconds: 120,
        competition_mode: 'standard',
        validator_benchmark_env: { SECRET_SHARD: 'hidden' },
        ...fields,
      });
      if (status !== 200) throw new Error(text);
      return String(json['id']);
    },
    close: async () => {
      await app.close();
      database.close();
      await rm(home, { recursive: true, force: true });
    },
  };
}
