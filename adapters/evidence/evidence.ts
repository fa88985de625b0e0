/**
 * The evidence folder of a run: what a person, or `adit show` without a server, reads afterwards.
 *
 *   <state>/runs/<runId>/
 *     plan.json               the Plan, written before the run starts
 *     run.json                how the run ended, with the state of every step
 *     steps/<step path>.json  each step's last try: input digest, outputs, error, times
 *   <state>/effects/<roundId>/<digest of the step path>.json
 *                             what was about to be done, written before it is done
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename } from 'node:fs/promises';
import path from 'node:path';
import { isJsonObject, type JsonObject } from '../../core/json.js';

export interface Evidence {
  /** Folder of one run. */
  directory(runId: string): string;
  writePlan(runId: string, plan: object): Promise<void>;
  writeRun(runId: string, record: object): Promise<void>;
  writeStep(runId: string, stepPath: string, record: object): Promise<void>;
  /** The recorded end of a run; null when there is none. */
  readRun(runId: string): Promise<JsonObject | null>;
  readPlan(runId: string): Promise<JsonObject | null>;
  /** The record of each step's last try, in no particular order; empty when there is none. */
  readSteps(runId: string): Promise<JsonObject[]>;
  /** Ids of the runs that have a folder here, in no particular order. */
  listRuns(): Promise<string[]>;
  /** What a step of a round was about to do; null when it never came that far. */
  readIntent(roundId: string, stepPath: string): Promise<JsonObject | null>;
  /** Durable when it returns: an effect may follow. */
  writeIntent(roundId: string, stepPath: string, intent: object): Promise<void>;
}

export function createEvidence(stateDir: string): Evidence {
  const directory = (runId: string): string => path.join(stateDir, 'runs', fileName(runId));
  const stepFile = (runId: string, stepPath: string): string =>
    path.join(directory(runId), 'steps', `${fileName(stepPath)}.json`);
  const intentFile = (roundId: string, stepPath: string): string =>
    path.join(
      stateDir,
      'effects',
      fileName(roundId),
      `${createHash('sha256').update(stepPath).digest('hex').slice(0, 32)}.json`,
    );

  return {
    directory,
    writePlan: (runId, plan) => writeJson(path.join(directory(runId), 'plan.json'), plan),
    writeRun: (runId, record) => writeJson(path.join(directory(runId), 'run.json'), record),
    writeStep: (runId, stepPath, record) => writeJson(stepFile(runId, stepPath), record),
    readRun: (runId) => readJson(path.join(directory(runId), 'run.json')),
    readPlan: (runId) => readJson(path.join(directory(runId), 'plan.json')),
    async readSteps(runId) {
      const folder = path.join(directory(runId), 'steps');
      const files = (await listFolder(folder)).filter((name) => name.endsWith('.json'));
      // One that is damaged must not hide the others.
      const records = await Promise.all(
        files.map((name) => readJson(path.join(folder, name)).catch(() => null)),
      );
      return records.filter((record) => record !== null);
    },
    listRuns: () => listFolder(path.join(stateDir, 'runs')),
    readIntent: (roundId, stepPath) => readJson(intentFile(roundId, stepPath)),
    writeIntent: (roundId, stepPath, intent) => writeJson(intentFile(roundId, stepPath), intent),
  };
}

/** A run id or step path as one file name: no separator, nothing hidden, readable, never too long. */
function fileName(text: string): string {
  const name = text
    .replace(/[^A-Za-z0-9._#[\]~-]/g, (char) => (char === '/' ? '@' : '_'))
    .replace(/^\.+/, '_');
  if (name.length <= 160) return name;
  return `${name.slice(0, 120)}~${createHash('sha256').update(text).digest('hex').slice(0, 32)}`;
}

/** Whole or not at all, and on the disk before it returns. */
async function writeJson(file: string, value: object): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  const temporary = `${file}.${randomUUID()}.tmp`;
  const handle = await open(temporary, 'wx');
  try {
    await handle.writeFile(`${JSON.stringify(value, null, 2)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
}

async function listFolder(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function readJson(file: string): Promise<JsonObject | null> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const value: unknown = JSON.parse(text);
  return isJsonObject(value) ? value : null;
}
