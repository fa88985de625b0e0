/**
 * Where the files of a program lie.
 *
 *   <state>/runs/<run>/processes/<step path>/
 *     token, limit.json     of the step: the newest token seen, the limit as it was extended
 *     <start>/
 *       spec.json           program, directory, names of the environment, limits    written before anything runs
 *       exit.json           blanks, then the status of the program                  reserved at the start, filled by the shim
 *       ending.json         blanks, then why the host ends it, at last how it ended reserved at the start, filled by the host
 *       owner.json          who it is, and its marker                               before the program's first instruction
 *       progress.json       latest metrics, and where the watching stands
 *       output/log          stdout and stderr in order, written by the program itself
 *       metrics.jsonl, outputs.json    what the program tells, where it is asked to
 *       files/              ADIT_OUTPUT_DIR
 *       work/               its directory, where it has no workspace
 *   <state>/host/programs/<marker>.json    of each start that lives; locked by it
 */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import type { ProgramFiles, ProgramPlace } from '../core/host-protocol.js';
import { stepFolderName } from '../core/step-folder.js';

/** The folder of the starts of a step. */
export function stepFolder(
  stateDir: string,
  { runId, stepPath }: Pick<ProgramPlace, 'runId' | 'stepPath'>,
): string {
  return path.join(
    path.resolve(stateDir),
    'runs',
    stepFolderName(runId),
    'processes',
    stepFolderName(stepPath),
  );
}

/** Paths of a start; nothing is made. */
export function programFiles(stateDir: string, place: ProgramPlace): ProgramFiles {
  const root = path.join(stepFolder(stateDir, place), String(place.start));
  return {
    root,
    log: path.join(root, 'output', 'log'),
    metricsFile: path.join(root, 'metrics.jsonl'),
    outputsFile: path.join(root, 'outputs.json'),
    outputDir: path.join(root, 'files'),
    workDir: path.join(root, 'work'),
  };
}

/** The numbers of the starts of a step that have a folder, in order. */
export function startsOf(folder: string): number[] {
  return namesIn(folder)
    .filter((name) => /^[1-9]\d{0,8}$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
