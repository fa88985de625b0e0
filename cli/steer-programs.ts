/** `adit kill` and `adit extend`: for programs that a host of this machine has. */
import { parseDuration } from '../core/duration.js';
import { CliFailure, EXIT } from './failure.js';
import { findStepPath } from './find-step.js';
import {
  listPrograms,
  listUnhosted,
  reachHosts,
  type HostedProgram,
  type ReachedHosts,
} from './hosts.js';
import { clean, print, printJson } from './output.js';
import { ownName } from './own-name.js';
import { readSettings } from './session.js';

/** Ends programs, and says which. Throws CliFailure PROGRAM_NOT_FOUND, STEP_NOT_FOUND, STEP_AMBIGUOUS. */
export async function killPrograms(
  runId: string,
  step: string | undefined,
  json: boolean,
): Promise<void> {
  const { reached, programs } = await findPrograms(runId);
  try {
    const stepPath = step === undefined ? undefined : findIn(programs, step, runId);
    const meant = programs.filter(
      ({ program }) => stepPath === undefined || program.stepPath === stepPath,
    );
    for (const host of new Set(meant.map((one) => one.host))) {
      await host.processes.endRun(runId, 'killed', stepPath);
    }
    const ended = meant.map(({ program }) => ({
      step: program.stepPath,
      start: program.start,
      pid: program.pid,
    }));
    if (json) printJson({ runId, ended });
    else {
      for (const one of ended) {
        const pid = one.pid === null ? 'it was waiting' : `process ${one.pid}`;
        print(`Ended: ${clean(one.step)}, start ${one.start} (${pid}). Nothing of it is left.`);
      }
      print('The step fails with PROGRAM_KILLED, unless a retry rule of its own says otherwise.');
    }
  } finally {
    reached.close();
  }
}

/** Moves a limit, and says until when. Throws CliFailure USAGE, PROGRAM_NOT_FOUND, STEP_NOT_FOUND, STEP_AMBIGUOUS. */
export async function extendProgram(
  { runId, step, duration }: { runId: string; step: string; duration: string },
  json: boolean,
): Promise<void> {
  const byMs = parseDuration(duration);
  if (byMs === null) {
    throw new CliFailure('USAGE', `"${duration}" is no duration.`, {
      hint: 'For example: 90m, 2h or 1h30m.',
      exitCode: EXIT.usage,
    });
  }
  const { reached, programs } = await findPrograms(runId);
  try {
    const stepPath = findIn(programs, step, runId);
    const found = programs.find(({ program }) => program.stepPath === stepPath);
    if (found === undefined) throw new Error(`no program of ${stepPath}`);
    const endsAtMs = await found.host.processes.extend({ runId, stepPath, byMs });
    const endsAt = endsAtMs === null ? null : new Date(endsAtMs).toISOString();
    if (json) printJson({ runId, step: stepPath, endsAt });
    else if (endsAt === null) print(`${clean(stepPath)} has no limit.`);
    else print(`${clean(stepPath)} may now run until ${endsAt}.`);
  } finally {
    reached.close();
  }
}

async function findPrograms(
  runId: string,
): Promise<{ readonly reached: ReachedHosts; readonly programs: readonly HostedProgram[] }> {
  const { stateDir } = await readSettings();
  const reached = await reachHosts(stateDir);
  const all = await listPrograms(reached.hosts);
  const programs = all.filter(({ program }) => program.runId === runId);
  if (programs.length > 0) return { reached, programs };
  const [remark] = reached.remarks;
  const unhosted = (await listUnhosted(reached)).find((program) => program.runId === runId);
  reached.close();
  if (unhosted !== undefined) {
    throw new CliFailure(
      'HOST_UNAVAILABLE',
      `A program of the run "${runId}" lives here, and its process host does not answer.${remark === undefined ? '' : ` ${remark}`}`,
      {
        hint: `A host takes it over; then repeat the command: ADIT_STATE_DIR=${unhosted.stateDir} ${ownName()} host`,
      },
    );
  }
  throw new CliFailure(
    'PROGRAM_NOT_FOUND',
    reached.hosts.length === 0
      ? `No process host runs for ${stateDir}, so the run "${runId}" has no program here.${remark === undefined ? '' : ` ${remark}`}`
      : `The run "${runId}" has no program on this machine.`,
    {
      hint: `\`${ownName()} ps\` lists the programs; they are steered on the machine that runs them.`,
    },
  );
}

function findIn(programs: readonly HostedProgram[], step: string, runId: string): string {
  return findStepPath(step, [...new Set(programs.map(({ program }) => program.stepPath))], runId);
}
