/**
 * One Temporal server for all tests of a project: found or made as `adit demo` does, on a database of its
 * own. `ADIT_TEST_TEMPORAL_ADDRESS` names another; nothing else of the environment does.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Connection } from '@temporalio/client';
import type { TestProject } from 'vitest/node';
import { loadSettings } from '../../adapters/settings/settings.js';
import { plainOptions } from '../../adapters/temporal-server/connect.js';
import { findTemporal } from '../../adapters/temporal-server/find-binary.js';
import { registerSearchAttributes } from '../../adapters/temporal-server/prepare-namespace.js';
import { startTemporalServer } from '../../adapters/temporal-server/start-server.js';
import { SEARCH_ATTRIBUTES } from '../../workflows/contract.js';

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const named = process.env['ADIT_TEST_TEMPORAL_ADDRESS'];
  if (named !== undefined) {
    await prepare(named, 'default');
    project.provide('temporal', { address: named, namespace: 'default' });
    return async () => {};
  }
  const folder = await mkdtemp(path.join(tmpdir(), 'adit-test-'));
  const { cacheDir } = loadSettings(process.env, folder);
  const binary = await findTemporal({
    env: process.env,
    cacheDir,
    onProgress: (line) => process.stderr.write(`${line}\n`),
  });
  const server = await startTemporalServer({
    binary,
    dbFile: path.join(folder, 'temporal.db'),
    logFile: path.join(folder, 'temporal.log'),
    env: process.env,
    headless: true,
  });
  await prepare(server.address, server.namespace);
  project.provide('temporal', { address: server.address, namespace: server.namespace });
  return async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 10 });
  };
}

async function prepare(address: string, namespace: string): Promise<void> {
  const connection = await Connection.connect(plainOptions(address));
  await registerSearchAttributes(connection, namespace, [...SEARCH_ATTRIBUTES]);
  await connection.close();
}

declare module 'vitest' {
  interface ProvidedContext {
    temporal: { address: string; namespace: string };
  }
}
