/**
 * The directory of one start of a program: the record of what was started, as whom, and how it ended.
 *
 *   <state>/runs/<run>/processes/<step path>/<start>/
 *     spec.json     program, directory, names of the environment    written before anything runs
 *     exit.json     blanks, then how the program ended              reserved at the start, filled by the shim
 *     owner.json    pid, start ticks, boot id, marker               written before the program's first instruction
 *     ending.json   blanks, then which program we ended, and why: its exit is then not a result
 *     output/log    stdout and stderr in order, written by the program itself
 *     metrics.jsonl, outputs.json    what the program tells, where it is asked to
 *     files/        ADIT_OUTPUT_DIR
 *     work/         its directory, where it has no workspace
 */
import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { canonicalJson } from '../../core/canonical-json.js';
import { isJsonObject, type Json, type JsonObject } from '../../core/json.js';
import { stepFolderName } from '../../core/step-folder.js';
import type { ProcessIdentity } from './process-table.js';

/** Version of the files in a run directory. */
const RECORD_VERSION = 1;

/** What names a start of a program: the step that runs it. */
export interface ProcessPlace {
  readonly runId: string;
  readonly stepPath: string;
  /** Numbered by the interpreter. */
  readonly start: number;
  /** When the server scheduled this attempt, in milliseconds since the epoch: older attempts yield to newer ones. */
  readonly scheduledAtMs: number;
}

/** Absolute paths inside the directory of a start. */
export interface RunDirectory {
  readonly root: string;
  readonly log: string;
  readonly metricsFile: string;
  readonly outputsFile: string;
  readonly outputDir: string;
  readonly workDir: string;
}

export interface OwnerRecord extends ProcessIdentity {
  /** Value of the marker in the environment of every process of the program. */
  readonly marker: string;
  readonly scheduledAtMs: number;
}

export function runDirectory(stateDir: string, place: ProcessPlace): RunDirectory {
  const root = path.join(
    stateDir,
    'runs',
    stepFolderName(place.runId),
    'processes',
    stepFolderName(place.stepPath),
    String(place.start),
  );
  return directoryAt(root);
}

function directoryAt(root: string): RunDirectory {
  return {
    root,
    log: path.join(root, 'output', 'log'),
    metricsFile: path.join(root, 'metrics.jsonl'),
    outputsFile: path.join(root, 'outputs.json'),
    outputDir: path.join(root, 'files'),
    workDir: path.join(root, 'work'),
  };
}

/** What is recorded of a spec. Values of the environment may be secret: only their names, and one digest of all. */
export function describeSpec(spec: {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: { readonly [name: string]: string };
}): JsonObject {
  return {
    version: RECORD_VERSION,
    argv: [...spec.argv],
    cwd: spec.cwd,
    envNames: Object.keys(spec.env).sort(),
    envSha256: createHash('sha256')
      .update(canonicalJson({ ...spec.env }))
      .digest('hex'),
  };
}

/** Empties the directory and writes what comes before the program. */
export async function prepareRunDirectory(
  directory: RunDirectory,
  spec: JsonObject,
): Promise<void> {
  // First: without it no exit is taken for a result, should this be cut short.
  await rm(path.join(directory.root, 'spec.json'), { force: true });
  await rm(directory.root, { recursive: true, force: true });
  await mkdir(path.dirname(directory.log), { recursive: true, mode: 0o700 });
  await mkdir(directory.outputDir, { mode: 0o700 });
  await mkdir(directory.workDir, { mode: 0o700 });
  // The blocks are there before the program runs, so a full disk cannot lose how it ended.
  for (const name of ['exit.json', 'ending.json']) {
    await writeFile(path.join(directory.root, name), reserved(''), { flush: true });
  }
  await writeRecord(directory, 'spec.json', spec);
}

/** The directories of the other starts of the same step. */
export async function otherStarts(
  directory: RunDirectory,
): Promise<{ readonly start: number; readonly directory: RunDirectory }[]> {
  const parent = path.dirname(directory.root);
  const names = await readdir(parent).catch(() => []);
  return names
    .filter((name) => /^\d+$/.test(name) && name !== path.basename(directory.root))
    .map((name) => ({ start: Number(name), directory: directoryAt(path.join(parent, name)) }));
}

export async function readSpec(directory: RunDirectory): Promise<JsonObject | null> {
  return readRecord(directory, 'spec.json');
}

export async function writeOwner(directory: RunDirectory, owner: OwnerRecord): Promise<void> {
  await writeRecord(directory, 'owner.json', { version: RECORD_VERSION, ...owner });
}

export async function readOwner(directory: RunDirectory): Promise<OwnerRecord | null> {
  const record = await readRecord(directory, 'owner.json');
  if (record === null) return null;
  const { pid, startTicks, bootId, marker, scheduledAtMs } = record;
  if (typeof pid !== 'number' || typeof startTicks !== 'number') return null;
  if (typeof bootId !== 'string' || typeof marker !== 'string') return null;
  return { pid, startTicks, bootId, marker, scheduledAtMs: Number(scheduledAtMs) };
}

/** Notes that we end the program from outside, and why; in its reserved block, for the disk may be full. */
export async function writeEnding(
  directory: RunDirectory,
  { marker }: OwnerRecord,
  cause: string,
): Promise<void> {
  const handle = await open(
    path.join(directory.root, 'ending.json'),
    constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    await handle.write(reserved(JSON.stringify({ version: RECORD_VERSION, marker, cause })), 0);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The exit status that the shim wrote; null while there is none, or when we ended the program ourselves. */
export async function readExit(directory: RunDirectory): Promise<{ readonly code: number } | null> {
  const record = await readRecord(directory, 'exit.json');
  if (record === null || typeof record['code'] !== 'number') return null;
  const ending = await readRecord(directory, 'ending.json');
  // The note of a worker that was long frozen is about the program before this one.
  if (ending !== null && ending['marker'] === (await readOwner(directory))?.marker) return null;
  return { code: record['code'] };
}

/** A text in a block of 256 bytes. */
function reserved(text: string): string {
  return `${text.padEnd(255)}\n`;
}

async function writeRecord(directory: RunDirectory, name: string, record: object): Promise<void> {
  const file = path.join(directory.root, name);
  const temporary = `${file}.${randomUUID()}.tmp`;
  const handle = await open(temporary, 'wx', 0o600);
  try {
    await handle.writeFile(`${JSON.stringify(record)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
}

async function readRecord(directory: RunDirectory, name: string): Promise<JsonObject | null> {
  const text = await readFile(path.join(directory.root, name), 'utf8').catch(() => '');
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : null;
  } catch {
    // Blank, half-written or never there: no record.
    return null;
  }
}

/** True when two recorded specs start the same program in the same way. */
export function isSameSpec(a: Json, b: Json): boolean {
  return canonicalJson(a) === canonicalJson(b);
}
