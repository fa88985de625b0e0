/** What the benches stand on that set Adit beside workflows written by hand: a folder, the server, a worker of each side. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { inject } from 'vitest';
import { endProcessesOf } from '../support/in-folder.js';
import { startProgram, type Program } from '../support/local-network.js';
import { printReport } from './report.js';

export interface Contest {
  readonly folder: string;
  readonly stateDir: string;
  readonly client: Client;
  readonly queues: { readonly adit: string; readonly byHand: string };
  startAdit(env: NodeJS.ProcessEnv): Promise<Program>;
  startByHand(env: NodeJS.ProcessEnv): Promise<Program>;
  /** Prints the report, and ends these programs and whatever they left. */
  end(...programs: Program[]): Promise<void>;
}

/** A file of the bench. */
export const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

/** `handWritten`: the file of the workflows that are written by hand. */
export async function openContest(name: string, handWritten: string): Promise<Contest> {
  const folder = await mkdtemp(path.join(tmpdir(), `adit-${name}-`));
  const stateDir = path.join(folder, 'state');
  const { address, namespace } = inject('temporal');
  const client = new Client({ connection: await Connection.connect({ address }), namespace });
  const adit = `${name}-${randomBytes(4).toString('hex')}`;
  const queues = { adit, byHand: `${adit}-by-hand` };
  const { code } = await bundleWorkflowCode({
    workflowsPath: here(handWritten),
    logger: new DefaultLogger('ERROR'),
  });
  const bundle = path.join(folder, 'bundle.js');
  await writeFile(bundle, code);
  const { PATH, HOME } = process.env;
  return {
    folder,
    stateDir,
    client,
    queues,
    startAdit: (env) =>
      startProgram('worker/main.js', [], {
        PATH,
        HOME,
        ...env,
        ADIT_STATE_DIR: stateDir,
        ADIT_TASK_QUEUE: queues.adit,
        TEMPORAL_ADDRESS: address,
        TEMPORAL_NAMESPACE: namespace,
      }),
    startByHand: (env) =>
      startProgram(
        'worker.mjs',
        [bundle, address, namespace, queues.byHand],
        { PATH, HOME, ...env },
        { dist: here('hand-written') },
      ),
    end: async (...programs) => {
      printReport();
      await client.connection.close();
      for (const program of programs) await program.end('SIGTERM');
      await endProcessesOf(folder);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
