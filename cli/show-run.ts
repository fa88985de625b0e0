import path from 'node:path';
import type { ServerFlags } from '../adapters/temporal-server/choose-server.js';
import { TemporalServerError } from '../adapters/temporal-server/server-error.js';
import { readHold } from '../adapters/evidence/effect-hold.js';
import { createTextMask } from '../adapters/secrets/text-mask.js';
import type { Settings } from '../adapters/settings/settings.js';
import type { ProgramListing } from '../core/host-protocol.js';
import { effectsOf } from './effect-lines.js';
import { holdWords } from './effect-hold.js';
import { unknownRun } from './follow-run.js';
import { secretFiles } from './known-secrets.js';
import { listPrograms, reachHosts } from './hosts.js';
import type { RunDetails } from './print-run.js';
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

/** What lies on this machine about a run that is shown: its round's effects, its programs, and a hold. */
export async function readRunDetails({ view, evidence }: RunRecord): Promise<RunDetails> {
  const settings = await readSettings();
  const roots = evidenceRoots(settings.stateDir);
  const root = roots.find((candidate) => path.dirname(evidence) === path.join(candidate, 'runs'));
  const hold = root === undefined ? null : await readHold(root).catch(() => null);
  const isOpen = view.status === 'running';
  return {
    effects: await effectsOf(roots, view.roundId),
    programs: isOpen ? await programsOf(settings, view.runId) : [],
    hold: isOpen && hold !== null ? holdWords(hold) : null,
  };
}

async function programsOf(settings: Settings, runId: string): Promise<ProgramListing[]> {
  const mask = createTextMask(secretFiles(settings));
  const reached = await reachHosts(settings.stateDir, mask);
  try {
    const programs = await listPrograms(reached.hosts);
    return programs.map(({ program }) => program).filter((program) => program.runId === runId);
  } finally {
    reached.close();
  }
}

function withRemark(record: RunRecord, reason: string): RunRecord {
  return {
    ...record,
    remark: [reason, record.remark ?? 'This is from the evidence folder.'].join(' '),
  };
}
