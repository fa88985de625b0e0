import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectTo, plainOptions } from '../../adapters/temporal-server/connect.js';
import type { ServerChoice } from '../../adapters/temporal-server/choose-server.js';
import { findTemporal, type TemporalBinary } from '../../adapters/temporal-server/find-binary.js';
import { measureServer } from '../../adapters/temporal-server/measure-server.js';
import {
  registerSearchAttributes,
  RETENTION_DAYS,
  setRetention,
} from '../../adapters/temporal-server/prepare-namespace.js';
import { isAlive } from '../../adapters/temporal-server/process-identity.js';
import {
  startTemporalServer,
  type RunningServer,
} from '../../adapters/temporal-server/start-server.js';
import { loadSettings } from '../../adapters/settings/settings.js';

let folder: string;
let binary: TemporalBinary;
const servers: RunningServer[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-server-'));
  const { cacheDir } = loadSettings(process.env, folder);
  binary = await findTemporal({ env: process.env, cacheDir });
});

afterAll(async () => {
  for (const server of servers) await server.stop();
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
});

async function start(
  name: string,
  options: { untuned?: boolean; preferredPort?: number } = {},
): Promise<RunningServer> {
  const server = await startTemporalServer({
    binary,
    dbFile: path.join(folder, name, 'temporal.db'),
    logFile: path.join(folder, name, 'temporal.log'),
    env: process.env,
    headless: true,
    ...(options.untuned === undefined ? {} : { untuned: options.untuned }),
    ...(options.preferredPort === undefined
      ? {}
      : { preferredPorts: { server: options.preferredPort } }),
  });
  servers.push(server);
  return server;
}

function choiceOf(server: { address: string }, namespace = 'default'): ServerChoice {
  return {
    address: server.address,
    namespace,
    source: 'flag',
    origin: 'from --address',
    connectionOptions: plainOptions(server.address),
  };
}

describe('the embedded Temporal server', () => {
  it('keeps an open run, its retention and its search attributes over a restart on the same file', async () => {
    const first = await start('restart');
    const before = await Connection.connect(plainOptions(first.address));
    expect(await setRetention(before, 'default', RETENTION_DAYS)).toBe(90);
    expect(await registerSearchAttributes(before, 'default', ['AditPipeline', 'AditTask'])).toEqual(
      { registered: true },
    );
    await new Client({ connection: before }).workflow.start('nobody-runs-this', {
      workflowId: 'kept',
      taskQueue: 'nobody',
    });
    await before.close();
    await first.stop();
    expect(isAlive(first.process)).toBe(false);

    const second = await start('restart', { preferredPort: first.ports.server });
    expect(second.ports.server).toBe(first.ports.server);
    const after = await connectTo(choiceOf(second));
    const description = await new Client({ connection: after }).workflow
      .getHandle('kept')
      .describe();
    expect(description.status.name).toBe('RUNNING');
    const namespace = await after.workflowService.describeNamespace({ namespace: 'default' });
    expect(Number(namespace.config?.workflowExecutionRetentionTtl?.seconds)).toBe(90 * 86_400);
    const attributes = await after.operatorService.listSearchAttributes({ namespace: 'default' });
    expect(Object.keys(attributes.customAttributes)).toEqual(
      expect.arrayContaining(['AditPipeline', 'AditTask']),
    );
    await after.close();
    await second.stop();
  });

  it('says why when the namespace does not let search attributes be added', async () => {
    const server = await start('refused');
    const connection = await Connection.connect(plainOptions(server.address));
    const names = Array.from({ length: 11 }, (_, index) => `Filler${index}`);
    const outcome = await registerSearchAttributes(connection, 'default', names);
    expect(outcome).toMatchObject({
      registered: false,
      reason: expect.stringContaining('Keyword'),
    });
    await connection.close();
    await server.stop();
  });

  it('fails with the log and a way out when its data cannot be opened', async () => {
    await expect(
      startTemporalServer({
        binary,
        dbFile: folder,
        logFile: path.join(folder, 'broken.log'),
        env: process.env,
        headless: true,
      }),
    ).rejects.toMatchObject({
      code: 'SERVER_START_FAILED',
      hint: expect.stringContaining('broken.log'),
    });
  });

  it('is told apart from a throttled one by measuring', async () => {
    const tuned = await start('tuned');
    const untuned = await start('untuned', { untuned: true });
    const verdicts = [];
    for (const server of [tuned, untuned]) {
      const connection = await Connection.connect(plainOptions(server.address));
      verdicts.push(await measureServer(connection, 'default'));
      await connection.close();
    }

    expect(
      verdicts.map(({ slowTimers, throttledSteps }) => ({ slowTimers, throttledSteps })),
    ).toEqual([
      { slowTimers: false, throttledSteps: false },
      { slowTimers: true, throttledSteps: true },
    ]);
  });
});

describe('connecting', () => {
  it('refuses an address that does not answer, and names where the address came from', async () => {
    await expect(connectTo(choiceOf({ address: '127.0.0.1:1' }))).rejects.toMatchObject({
      code: 'SERVER_UNREACHABLE',
      message: expect.stringContaining(
        'The Temporal server at 127.0.0.1:1 (from --address) does not answer',
      ),
    });
  });

  it('refuses a namespace that is not there', async () => {
    const server = await start('namespace');
    await expect(connectTo(choiceOf(server, 'elsewhere'))).rejects.toMatchObject({
      code: 'SERVER_NAMESPACE_MISSING',
      message: `The Temporal server at ${server.address} has no namespace "elsewhere".`,
    });
    await server.stop();
  });
});
