/**
 * The records of programs (program-files.ts says which lie where), all JSON objects with a version.
 *
 * Version 1 was written by workers that started programs themselves: no `level`, no `pidNamespace`, no limits,
 * no index entry, and an ending.json whose cause is free text. It is read, never written.
 *
 * Two files are made full size before the program runs and then written in place, so a full disk cannot lose how
 * a program ended. The others are renamed into place, so a reader sees the old text or the new.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { canonicalJson } from '../core/canonical-json.js';
import {
  PROGRAM_RECORD_VERSION,
  type EndReason,
  type HostProgramSpec,
  type ProgramCause,
  type ProgramEnd,
  type ProgramLimits,
  type ProgramToken,
  type ProgramWatch,
} from '../core/host-protocol.js';
import { isJsonObject, type Json, type JsonObject } from '../core/json.js';
import type { TreeRecord } from './program-tree.js';

/** What was started, and what a later host needs to watch over it. Values of the environment may be secret: names, and one digest of all. */
export interface SpecRecord {
  readonly version: number;
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly envNames: readonly string[];
  readonly envSha256: string;
  readonly server: HostProgramSpec['server'];
  readonly limits: ProgramLimits;
  readonly watch?: ProgramWatch;
  readonly gpus?: number;
}

export interface OwnerRecord extends TreeRecord {
  readonly version: number;
  readonly token: ProgramToken;
  readonly startedAtMs: number;
  readonly devices: readonly string[];
  /** The machine's count of processes killed for want of memory, at the start. */
  readonly oomKills: number;
}

/** Why the host ends a program, and, when `endedAtMs` is there, how it ended. */
export interface EndingRecord {
  readonly version: number;
  readonly marker: string;
  readonly cause: ProgramCause;
  readonly reason?: EndReason;
  /** When the host decided to end it; absent when it did not, once it has ended, and in the records of older hosts. */
  readonly decidedAtMs?: number;
  readonly code?: number;
  readonly signal?: string;
  readonly startedAtMs?: number;
  readonly endedAtMs?: number;
  readonly metrics?: { readonly [name: string]: number };
}

/** Where the watching stands. */
export interface ProgressRecord {
  readonly version: number;
  readonly marker: string;
  readonly metrics: { readonly [name: string]: number };
  readonly snapshot: Json;
  /** The limit (its `endsAtMs`) before which the program was warned; null: not yet. */
  readonly warnedFor: number | null;
}

const datasync = promisify(fdatasync);

const EXIT_BYTES = 256;
/** As many metrics as a program may report, with the longest names. */
const ENDING_BYTES = 8 * 1024;
const MOST_RECORD_BYTES = 8 * 1024 * 1024;

export function describeSpec(spec: HostProgramSpec, cwd: string): SpecRecord {
  const isVolatile = new Set(spec.volatileEnv);
  const env = Object.fromEntries(
    Object.entries(spec.env).filter(([name]) => !isVolatile.has(name)),
  );
  return {
    version: PROGRAM_RECORD_VERSION,
    argv: spec.argv,
    cwd,
    envNames: Object.keys(env).sort(),
    envSha256: createHash('sha256').update(canonicalJson(env)).digest('hex'),
    server: spec.server,
    limits: spec.limits,
    ...(spec.watch === undefined ? {} : { watch: spec.watch }),
    ...(spec.gpus === undefined ? {} : { gpus: spec.gpus }),
  };
}

/** True when both start the same program in the same way; limits and watching do not count. */
export function isSameProgram(a: SpecRecord, b: SpecRecord): boolean {
  const identity = ({ argv, cwd, envNames, envSha256 }: SpecRecord): string =>
    canonicalJson([[...argv], cwd, [...envNames], envSha256]);
  return identity(a) === identity(b);
}

/** Makes the blank blocks of a start in a folder that is there. */
export function reserveBlocks(root: string): void {
  for (const [name, bytes] of [
    ['exit.json', EXIT_BYTES],
    ['ending.json', ENDING_BYTES],
  ] as const) {
    writeFileSync(path.join(root, name), blanks('', bytes), { flag: 'wx', mode: 0o600 });
  }
}

/** A new start needs no rename: its folder is empty, and a reader takes half a record for none. */
export function writeSpec(root: string, spec: SpecRecord): void {
  writeFileSync(path.join(root, 'spec.json'), `${JSON.stringify(spec)}\n`, { mode: 0o600 });
}

export function readSpec(root: string): SpecRecord | null {
  const record = readRecord(path.join(root, 'spec.json'));
  if (record === null || !Array.isArray(record['argv'])) return null;
  // Version 1 knew of no server and no limits.
  return Object.assign({ server: null, limits: NO_LIMITS }, record as JsonObject & SpecRecord);
}

const NO_LIMITS: ProgramLimits = {
  stepMs: null,
  graceMs: 10_000,
  minFreeBytes: 0,
  outputBytes: Number.MAX_SAFE_INTEGER,
};

/** For a start whose spec is unreadable: it is followed, and can be ended. */
export const UNKNOWN_SPEC: HostProgramSpec = {
  argv: [],
  env: {},
  server: null,
  limits: NO_LIMITS,
};

export function writeOwner(root: string, owner: Omit<OwnerRecord, 'version'>): void {
  replaceRecord(path.join(root, 'owner.json'), owner);
}

export function readOwner(root: string): OwnerRecord | null {
  const record = readRecord(path.join(root, 'owner.json'));
  if (record === null || typeof record['marker'] !== 'string') return null;
  if (isJsonObject(record['leader'] ?? null)) return record as JsonObject & OwnerRecord;
  return toOwner(record);
}

/** Version 1: the identity lay flat, and the token was called by what it is. */
function toOwner(record: JsonObject): OwnerRecord | null {
  const { pid, startTicks, bootId, marker, scheduledAtMs } = record;
  if (typeof pid !== 'number' || typeof startTicks !== 'number') return null;
  if (typeof bootId !== 'string' || typeof marker !== 'string') return null;
  const token = Number(scheduledAtMs ?? 0);
  return {
    version: 1,
    leader: { pid, startTicks, bootId, pidNamespace: '' },
    marker,
    level: 'processGroup',
    token,
    startedAtMs: token,
    devices: [],
    oomKills: 0,
  };
}

/** The status that the shim wrote, and when; null while there is none. */
export function readExit(root: string): { code: number; endedAtMs: number } | null {
  const file = path.join(root, 'exit.json');
  const read = readFileSafely(file);
  const record = read === null ? null : parseRecord(read.text);
  const code = record?.['code'];
  return read === null || typeof code !== 'number' ? null : { code, endedAtMs: read.changedAtMs };
}

/** Writes into the reserved block, and onto the disk unless `sync` is false. Throws when the disk fails. */
export async function writeEnding(
  root: string,
  ending: Omit<EndingRecord, 'version'>,
  { sync = true }: { readonly sync?: boolean } = {},
): Promise<void> {
  const record = { version: PROGRAM_RECORD_VERSION, ...ending };
  const text = JSON.stringify(record);
  const { metrics: _tooMany, ...shorter } = record;
  const fitting = text.length < ENDING_BYTES / 2 || Buffer.byteLength(text) < ENDING_BYTES;
  const { O_WRONLY, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  const flags = O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK;
  const fd = openSync(path.join(root, 'ending.json'), flags, 0o600);
  try {
    writeSync(fd, blanks(fitting ? text : JSON.stringify(shorter), ENDING_BYTES), 0);
    if (sync) await datasync(fd);
  } finally {
    closeSync(fd);
  }
}

/** What the host noted about the end of the program with this marker; null when nothing. */
export function readEnding(root: string, marker: string): EndingRecord | null {
  const record = readRecord(path.join(root, 'ending.json'));
  // A note with another marker is about a program before this one.
  if (record === null || record['marker'] !== marker) return null;
  return record as JsonObject & EndingRecord;
}

/** When the host decided to end the program: it ended no earlier. 0 where it did not, or says nothing that is a time. */
export function decidedAt(ending: EndingRecord | null): number {
  // The program may write there, too.
  const atMs: unknown = ending?.decidedAtMs;
  return typeof atMs === 'number' && Number.isFinite(atMs) ? atMs : 0;
}

/** When a start with this note ended, by its host or its shim; null when neither has said so. */
export function readEndTime(root: string, ending: EndingRecord | null): number | null {
  if (ending?.endedAtMs !== undefined) return ending.endedAtMs;
  const exit = readExit(root);
  return exit === null ? null : Math.max(exit.endedAtMs, decidedAt(ending));
}

/** The recorded end of a start; null when it has none. */
export function toProgramEnd(ending: EndingRecord | null): ProgramEnd | null {
  if (ending?.endedAtMs === undefined) return null;
  const { cause, reason, code, signal, startedAtMs, endedAtMs, metrics } = ending;
  return {
    cause,
    ...(code === undefined ? {} : { code }),
    ...(signal === undefined ? {} : { signal }),
    ...(reason === undefined ? {} : { reason }),
    startedAtMs: startedAtMs ?? endedAtMs,
    endedAtMs,
    metrics: metrics ?? {},
  };
}

export function writeProgress(root: string, progress: Omit<ProgressRecord, 'version'>): void {
  replaceRecord(path.join(root, 'progress.json'), progress);
}

export function readProgress(root: string, marker: string): ProgressRecord | null {
  const record = readRecord(path.join(root, 'progress.json'));
  return record?.['marker'] === marker ? (record as JsonObject & ProgressRecord) : null;
}

/** The newest token that was seen for a step; 0 when there was none. */
export function readToken(folder: string): ProgramToken {
  return Number(readRecord(path.join(folder, 'token'))?.['token'] ?? 0);
}

export function writeToken(folder: string, token: ProgramToken): void {
  replaceRecord(path.join(folder, 'token'), { token });
}

/** By how much an operator extended the limits of a step, in milliseconds. */
export function readExtension(folder: string): number {
  return Number(readRecord(path.join(folder, 'limit.json'))?.['extendedMs'] ?? 0);
}

/** Onto the disk: an operator was told that it holds. */
export async function writeExtension(folder: string, extendedMs: number): Promise<void> {
  const file = path.join(folder, 'limit.json');
  const temporary = `${file}.tmp`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(toText({ extendedMs }));
    await handle.sync();
  } finally {
    await handle.close();
  }
  renameSync(temporary, file);
}

function blanks(text: string, bytes: number): string {
  return `${text}${' '.repeat(Math.max(0, bytes - 1 - Buffer.byteLength(text)))}\n`;
}

function toText(record: object): string {
  return `${JSON.stringify({ version: PROGRAM_RECORD_VERSION, ...record })}\n`;
}

// Not synced: a power cut ends every program, and with it the worth of these records. And not through the
// thread pool: a dozen small writes begin each program, and the way there costs more than the write.
function replaceRecord(file: string, record: object): void {
  const temporary = `${file}.tmp`;
  writeFileSync(temporary, toText(record), { mode: 0o600 });
  renameSync(temporary, file);
}

/** Null for what is missing, blank, half-written, too large or no regular file. */
export function readRecord(file: string): JsonObject | null {
  const read = readFileSafely(file);
  return read === null ? null : parseRecord(read.text);
}

function parseRecord(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : null;
  } catch {
    // Blank, half-written or a stranger's: no record.
    return null;
  }
}

/** A regular file of bounded size: a program may have put a pipe, a link or a terabyte in the place of a record. */
function readFileSafely(file: string): { text: string; changedAtMs: number } | null {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch {
    return null;
  }
  try {
    const { size, mtimeMs } = fstatSync(fd);
    if (!fstatSync(fd).isFile() || size > MOST_RECORD_BYTES) return null;
    const buffer = Buffer.alloc(size);
    return { text: buffer.toString('utf8', 0, readSync(fd, buffer)), changedAtMs: mtimeMs };
  } catch {
    return null;
  } finally {
    closeSync(fd);
  }
}
