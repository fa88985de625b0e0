/** Ends the process host that the worker of local services started. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createProcesses } from '../adapters/processes/processes.js';
import { identifyProcess, isAlive } from '../adapters/temporal-server/process-identity.js';
import type { ServicesKind } from '../adapters/temporal-server/services-file.js';
import { StepError } from '../core/error.js';

const START_WITHIN_MS = 10_000;
const END_WITHIN_MS = 5_000;
const LOOK_EVERY_MS = 50;

/**
 * Ends the host of a services folder; without one there is nothing to do. Of `adit dev` its programs go on, to be
 * found again by the next one; of a demo they are ended as for a pause, so that a run that is resumed begins their
 * next start. No worker may be running any more: it would start another host.
 */
export async function endHost(
  folder: string,
  kind: ServicesKind,
  onProgress: (text: string) => void,
): Promise<void> {
  const processes = createProcesses({ stateDir: folder, server: null, startHost: null });
  try {
    const { pid } = await processes.info();
    const host = identifyProcess(pid);
    const programs = await processes.list();
    if (kind === 'demo') {
      for (const runId of new Set(programs.map((program) => program.runId)))
        await processes.endRun(runId, 'paused');
    } else if (programs.length > 0) {
      const names = programs.map(({ runId, stepPath }) => `${runId} ${stepPath}`).join(', ');
      onProgress(
        `${programs.length === 1 ? 'a program goes' : `${programs.length} programs go`} on without the host, and the next \`adit dev\` finds it again: ${names}`,
      );
    }
    await processes.shutdownHost({ leavePrograms: kind === 'dev' });
    const givenUpAtMs = Date.now() + END_WITHIN_MS;
    while (host !== null && isAlive(host) && Date.now() < givenUpAtMs) await sleep(LOOK_EVERY_MS);
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    if (error.code !== 'HOST_UNAVAILABLE') onProgress(error.message);
  } finally {
    processes.close();
  }
}

/** The pid of the host that a worker which has just been started brings up; null when none is there after a while. */
export async function awaitHost(folder: string, signal: AbortSignal): Promise<number | null> {
  for (const givenUpAtMs = Date.now() + START_WITHIN_MS; ;) {
    const pid = await hostPid(folder);
    if (pid !== null || Date.now() > givenUpAtMs || signal.aborted) return pid;
    await sleep(LOOK_EVERY_MS);
  }
}

/** The pid of the host of a services folder; null when none runs. */
export async function hostPid(folder: string): Promise<number | null> {
  const processes = createProcesses({ stateDir: folder, server: null, startHost: null });
  try {
    return (await processes.info()).pid;
  } catch (error) {
    if (error instanceof StepError) return null;
    throw error;
  } finally {
    processes.close();
  }
}
