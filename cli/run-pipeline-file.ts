import type { RunOptions } from './commands/run.js';
import { EXIT, type ExitCode } from './failure.js';
import { loadPipeline, bindPlan, readGivenInputs } from './load-plan.js';
import { note, print, printJson } from './output.js';
import { exitCodeOf, printRunEnd } from './print-run.js';
import { toShowJson } from './run-record.js';
import { openSession } from './session.js';
import { networkOf, startRun } from './start-run.js';
import { watchToEnd } from './watch-to-end.js';
import { ownName } from './own-name.js';

/** `adit run`: the file is checked before anything else, so a mistake in it needs no server to be told. */
export async function runPipelineFile(file: string, options: RunOptions): Promise<ExitCode> {
  const loaded = await loadPipeline(file);
  const inputs = readGivenInputs(options);
  // Bound once without a network, so that a wrong input is told before the server and the hotkey are asked.
  bindPlan(loaded, inputs, { coordinator: '', hotkey: '' });
  const session = await openSession(options);
  try {
    if (session.server.services !== undefined) {
      note(
        `On the local network of \`adit ${session.server.services.kind}\` (${session.server.services.devnet.coordinator}).`,
      );
    }
    const plan = bindPlan(loaded, inputs, await networkOf(session.settings));
    const { runId, evidence } = await startRun(session, plan, note);
    if (options.detach === true) {
      if (options.json === true) printJson({ runId, roundId: runId, evidence });
      else print(`${runId}\nFollow it with: ${ownName()} watch ${runId}`);
      return EXIT.done;
    }
    if (options.json === true) note(`Run ${runId}`);
    else print(`Run ${runId}\n`);
    const record = await watchToEnd(session, runId, { json: options.json === true });
    if (options.json === true) printJson(toShowJson(record));
    else {
      print();
      printRunEnd(record);
    }
    return exitCodeOf(record.view.status);
  } finally {
    await session.close();
  }
}
