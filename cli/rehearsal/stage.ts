/** What rehearsals are played on: a Temporal server and local networks of their own, in a temporary folder. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { brokenRules } from '../../testing/rehearsal-rules.js';
import type { Rehearsal } from '../../testing/rehearsal-file.js';
import { bindPlan, type LoadedPipeline } from '../load-plan.js';
import { impatientPlan } from './impatient-plan.js';
import type { PlayOptions } from './play.js';
import { inputsFor, standInState } from './rehearsal-file.js';
import { startRehearsalServer } from './server.js';
import { createSitePool } from './site-pool.js';

export interface Stage {
  /** How a pipeline is played on it. Runs that go on at one time must not stop each other's server. */
  for(loaded: LoadedPipeline, rehearsal: Rehearsal): PlayOptions;
  /** Ends all that was started for it; nothing of it stays. */
  close(): Promise<void>;
}

export async function openStage(options: {
  readonly cacheDir: string;
  readonly env: NodeJS.ProcessEnv;
  readonly onProgress: (text: string) => void;
  readonly signal: AbortSignal;
}): Promise<Stage> {
  const { env, signal } = options;
  const folder = await mkdtemp(path.join(tmpdir(), 'adit-rehearsal-'));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true, maxRetries: 5 });
  try {
    const server = await startRehearsalServer({ ...options, folder });
    const sites = createSitePool(folder, { env, server: server.choice, signal });
    return {
      for: (loaded, rehearsal) => ({
        sites,
        server: server.choice,
        restartServer: () => server.restart(),
        bind: (network) =>
          impatientPlan(bindPlan(loaded, inputsFor(rehearsal, network.coordinator), network)),
        state: standInState(rehearsal),
        checkRules: (run) => brokenRules(rehearsal.rules, rehearsal.names, run),
        limitMs: rehearsal.limitMs,
        signal,
      }),
      async close() {
        try {
          await sites.close();
        } finally {
          try {
            await server.stop();
          } finally {
            await remove();
          }
        }
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
