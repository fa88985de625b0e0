import type { Settings } from '../adapters/settings/settings.js';
import { servicesFolder, type Services } from '../adapters/temporal-server/services-file.js';
import { awaitHost } from './end-host.js';
import { EXIT } from './failure.js';
import { listenForInterruption } from './interruption.js';
import { startLocalServices } from './local-services.js';
import { lockServices } from './lock-services.js';
import { note, print } from './output.js';

/** Runs the services of `adit dev` until Ctrl-C, then ends them in order. */
export async function keepServices(
  settings: Settings,
  ports: { readonly server: number; readonly ui: number },
  json: boolean,
): Promise<void> {
  const release = lockServices(settings.stateDir, 'dev');
  const interruption = listenForInterruption(
    () => 'What still runs is ended by the next `adit dev`, which goes on from its data.',
  );
  try {
    const services = await startLocalServices({
      kind: 'dev',
      settings,
      env: process.env,
      onProgress: note,
      preferredPorts: ports,
      signal: interruption.signal,
    });
    try {
      const folder = servicesFolder(settings.stateDir, 'dev');
      // The worker starts it as soon as it is ready itself.
      const host = await awaitHost(folder, interruption.signal);
      if (json) print(JSON.stringify(servicesJson(services.current(), host)));
      else printServices(services.current(), folder, host);
      await services.supervise(interruption.signal);
    } finally {
      note('Ending worker, local network and Temporal server …');
      await services.stop();
    }
    note('All ended. Runs that were under way go on when `adit dev` is started again.');
    process.exitCode = EXIT.done;
  } finally {
    interruption.dispose();
    release();
  }
}

/** What `adit dev --json` prints, in one line; the shape is public (docs/cli.md). */
function servicesJson({ temporal, devnet, worker }: Services, host: number | null): object {
  return {
    temporal: temporal.address,
    namespace: temporal.namespace,
    ui: temporal.ui,
    coordinator: devnet.coordinator,
    pool: devnet.pool,
    artifacts: devnet.artifacts,
    taskQueue: worker.taskQueue,
    processes: {
      temporal: temporal.process?.pid ?? null,
      devnet: devnet.process.pid,
      worker: worker.process.pid,
      host,
    },
  };
}

/** Addresses and processes, for people. */
export function printServices(services: Services, folder: string, host: number | null): void {
  const { temporal, devnet, worker } = services;
  const whose = temporal.process === null ? 'not ours' : `process ${temporal.process.pid}`;
  print(`Temporal server   ${temporal.address}  (${whose})`);
  if (temporal.ui !== null) print(`Temporal UI       ${temporal.ui}`);
  print(`coordinator       ${devnet.coordinator}  (process ${devnet.process.pid})`);
  print(`Pool              ${devnet.pool}`);
  print(`worker            task queue ${worker.taskQueue}  (process ${worker.process.pid})`);
  if (host !== null) print(`process host      process ${host}`);
  print(`data and logs     ${folder}`);
}
