import type { RunOptions } from './commands/run.js';
import type { ExitCode } from './failure.js';
import { loadPipeline, bindPlan, readGivenInputs } from './load-plan.js';
import { note } from './output.js';
import { openSession } from './session.js';
import { roundLockOf, refuseRunningRound } from './round-lock.js';
import { readRunTerms } from './run-terms.js';
import { noteHold } from './effect-hold.js';
import { networkOf, startRun } from './start-run.js';
import { showStarted } from './show-started.js';

/** `adit run`: the file is checked before anything else, so a mistake in it needs no server to be told. */
export async function runPipelineFile(file: string, options: RunOptions): Promise<ExitCode> {
  const loaded = await loadPipeline(file);
  if (loaded.warnings !== '') note(`${loaded.warnings}\n`);
  const inputs = readGivenInputs(options);
  // Bound once without a network, so that a wrong input is told before the server and the hotkey are asked.
  const terms = readRunTerms(
    options,
    bindPlan(loaded, inputs, { coordinator: '', hotkey: '' }),
    Date.now(),
  );
  const session = await openSession(options);
  try {
    if (session.server.services !== undefined) {
      note(
        `On the local network of \`adit ${session.server.services.kind}\` (${session.server.services.devnet.coordinator}).`,
      );
    }
    const plan = bindPlan(loaded, inputs, await networkOf(session.settings));
    const lockId = roundLockOf(plan, session.settings);
    if (lockId !== null) await refuseRunningRound(session, lockId, plan);
    await noteHold(session.settings.stateDir, plan);
    const started = await startRun(session, plan, note, {
      ...terms,
      ...(lockId === null ? {} : { lockId }),
    });
    return await showStarted(session, { ...started, roundId: started.runId }, options);
  } finally {
    await session.close();
  }
}
