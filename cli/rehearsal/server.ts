/** The Temporal server of a rehearsal: its own, in the rehearsal's folder; one that can be killed and comes back. */
import { randomInt } from 'node:crypto';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerChoice } from '../../adapters/temporal-server/choose-server.js';
import { connectTo, plainOptions } from '../../adapters/temporal-server/connect.js';
import { findTemporal } from '../../adapters/temporal-server/find-binary.js';
import { registerSearchAttributes } from '../../adapters/temporal-server/prepare-namespace.js';
import { isAlive } from '../../adapters/temporal-server/process-identity.js';
import { freePort, startTemporalServer } from '../../adapters/temporal-server/start-server.js';
import { SEARCH_ATTRIBUTES } from '../../workflows/contract.js';

/**
 * Below those that systems deal out to whoever connects: while the server is away its clients knock at its port, and
 * one of them could be given it.
 */
const PORTS = [20_000, 32_000] as const;
const PORT_FREE_WITHIN_MS = 10_000;

export interface RehearsalServer {
  readonly choice: ServerChoice;
  /** Kills it; it is back, on the same address and with all that it had stored, when this returns. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export async function startRehearsalServer(options: {
  readonly folder: string;
  readonly cacheDir: string;
  readonly env: NodeJS.ProcessEnv;
  readonly onProgress: (text: string) => void;
  readonly signal: AbortSignal;
}): Promise<RehearsalServer> {
  const { folder, cacheDir, env, onProgress, signal } = options;
  const binary = await findTemporal({ env, cacheDir, onProgress, signal });
  const start = {
    binary,
    dbFile: path.join(folder, 'temporal', 'temporal.db'),
    logFile: path.join(folder, 'temporal', 'log'),
    env,
    headless: true,
    signal,
  };
  let server = await startTemporalServer({
    ...start,
    preferredPorts: { server: randomInt(...PORTS) },
  });
  const { address, namespace, ports } = server;
  const choice: ServerChoice = {
    address,
    namespace,
    source: 'flag',
    origin: 'of this rehearsal',
    connectionOptions: plainOptions(address),
  };
  try {
    const connection = await connectTo(choice);
    await registerSearchAttributes(connection, namespace, SEARCH_ATTRIBUTES);
    await connection.close();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return {
    choice,
    async restart() {
      process.kill(server.process.pid, 'SIGKILL');
      while (isAlive(server.process)) await sleep(20);
      const untilMs = Date.now() + PORT_FREE_WITHIN_MS;
      while ((await freePort(ports.server)) !== ports.server && Date.now() < untilMs)
        await sleep(50);
      server = await startTemporalServer({ ...start, preferredPorts: { server: ports.server } });
      if (server.address !== address)
        throw new Error(`The port of ${address} was taken while the server was away.`);
    },
    stop: () => server.stop(),
  };
}
