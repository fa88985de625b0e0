import type { JsonObject } from '../core/json.js';
import { EXIT, type ExitCode } from './failure.js';
import { note, print, printJson } from './output.js';
import { ownName } from './own-name.js';
import { exitCodeOf, printRunEnd } from './print-run.js';
import { toShowJson } from './run-record.js';
import type { Session } from './session.js';
import type { StartedRun } from './start-run.js';
import { watchToEnd } from './watch-to-end.js';

/** What a command does with a run that it has just started: prints the ids and leaves, or shows it to its end. */
export async function showStarted(
  session: Session,
  started: StartedRun & { readonly roundId: string },
  options: {
    readonly detach?: boolean;
    readonly json?: boolean;
    /** Further keys of what `--json` prints. */
    readonly more?: JsonObject;
  },
): Promise<ExitCode> {
  const { runId, roundId, evidence } = started;
  const { more = {} } = options;
  if (options.detach === true) {
    if (options.json === true) printJson({ runId, roundId, evidence, ...more });
    else print(`${runId}\nFollow it with: ${ownName()} watch ${runId}`);
    return EXIT.done;
  }
  if (options.json === true) note(`Run ${runId}`);
  else print(`Run ${runId}\n`);
  const record = await watchToEnd(session, runId, { json: options.json === true });
  if (options.json === true) printJson({ ...toShowJson(record), ...more });
  else {
    print();
    printRunEnd(record);
  }
  return exitCodeOf(record.view.status);
}
