import { followRun } from './follow-run.js';
import { listenForInterruption } from './interruption.js';
import { createProgressView, type ProgressView } from './progress.js';
import { evidenceRoots, type RunRecord } from './run-record.js';
import type { Session } from './session.js';
import { createStepWords } from './step-words.js';
import { ownName } from './own-name.js';

/**
 * Shows a run until it has ended. Ctrl-C ends the watching alone (exit code 130) and says how to come
 * back. With `json` the progress goes to stderr, so that stdout holds the result and nothing else.
 */
export async function watchToEnd(
  session: Session,
  runId: string,
  options: { json: boolean },
): Promise<RunRecord> {
  const interruption = listenForInterruption(
    () => `The run goes on. Come back with: ${ownName()} watch ${runId}`,
  );
  try {
    return await showToEnd(session, runId, { ...options, signal: interruption.signal });
  } catch (error) {
    throw interruption.signal.aborted ? interruption.signal.reason : error;
  } finally {
    interruption.dispose();
  }
}

/** The same, until `signal` is aborted. While it shows, `onView` has the view, for lines about other things. */
export async function showToEnd(
  session: Session,
  runId: string,
  {
    json,
    signal,
    onView,
  }: { json: boolean; signal: AbortSignal; onView?: (view: ProgressView | null) => void },
): Promise<RunRecord> {
  const progress = await createProgressView(json ? process.stderr : process.stdout);
  onView?.(progress);
  const findWords = createStepWords(session.settings.stateDir, runId);
  try {
    return await followRun({
      session,
      runId,
      roots: evidenceRoots(session.settings.stateDir),
      signal,
      onSnapshot: async (snapshot) => progress.update(snapshot, await findWords(snapshot.view)),
    });
  } finally {
    onView?.(null);
    progress.end();
  }
}
