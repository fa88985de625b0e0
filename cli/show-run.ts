import type { ServerFlags } from '../adapters/temporal-server/choose-server.js';
import { TemporalServerError } from '../adapters/temporal-server/server-error.js';
import { unknownRun } from './follow-run.js';
import {
  evidenceRoots,
  readRunFromEvidence,
  readRunFromServer,
  type RunRecord,
} from './run-record.js';
import { openSession, readSettings, type Session } from './session.js';

/**
 * A run from the server; where that is away or does not know it, from the evidence. Throws
 * TemporalServerError only when the evidence does not have the run either, else CliFailure RUN_NOT_FOUND.
 */
export async function showRun(flags: ServerFlags, runId: string): Promise<RunRecord> {
  const roots = evidenceRoots((await readSettings()).stateDir);
  let session: Session;
  try {
    session = await openSession(flags);
  } catch (error) {
    if (!(error instanceof TemporalServerError)) throw error;
    const recorded = await readRunFromEvidence(roots, runId);
    if (recorded !== null) return withRemark(recorded, error.message);
    throw error.code === 'SERVER_NONE' ? unknownRun(runId, null) : error;
  }
  try {
    const known = await readRunFromServer(session, runId, roots);
    if (known !== null) return known;
    const recorded = await readRunFromEvidence(roots, runId);
    if (recorded === null) throw unknownRun(runId, session);
    return withRemark(
      recorded,
      `The Temporal server at ${session.server.address} does not know this run.`,
    );
  } finally {
    await session.close();
  }
}

function withRemark(record: RunRecord, reason: string): RunRecord {
  return {
    ...record,
    remark: [reason, record.remark ?? 'This is from the evidence folder.'].join(' '),
  };
}
