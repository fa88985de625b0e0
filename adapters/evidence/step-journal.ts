/**
 * The records of a run's steps, a line of JSON each: the last one of a path counts. One file for all of them, since to
 * make a new one costs a file system many times what it costs to append to one.
 */
import { appendFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { isJsonObject, type JsonObject } from '../../core/json.js';
import { listFolder, openToRead, readJson } from './json-file.js';

/** Of one try of a step: its path in the run, and whatever else is known of it. */
export interface StepRecord {
  readonly path: string;
  readonly [member: string]: unknown;
}

/**
 * Appends a record, which every reader sees when it returns; after a power cut it may be missing or cut off. Not
 * through the thread pool: each step writes one or two, and turns there cost more than the writing. Throws as Node does.
 */
export function appendRecord(file: string, record: StepRecord): void {
  // Also before it: behind a line that a full disk or a killed worker has cut off, it must not go down with that.
  const line = `\n${JSON.stringify(record)}\n`;
  try {
    appendFileSync(file, line);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    mkdirSync(path.dirname(file), { recursive: true });
    appendFileSync(file, line);
  }
}

/** The last record of each step, in the order in which the steps began; one that is damaged hides no other. */
export async function readRecords(file: string): Promise<JsonObject[]> {
  const last = new Map<unknown, JsonObject>();
  for await (const line of linesOf(file)) {
    const record = parse(line.toString('utf8'));
    if (record !== null) last.set(record['path'], record);
  }
  return [...last.values()];
}

const CHUNK_BYTES = 256 * 1024;

/** No record comes near: what travels between steps has a limit far below. */
const MAX_LINE_BYTES = 64 * 1024 * 1024;

/** In pieces: whole, the file of a long run would hold up everything else, or be more than one text can hold. */
async function* linesOf(file: string): AsyncGenerator<Buffer> {
  const handle = await openToRead(file);
  if (handle === null) return;
  try {
    let pieces: Buffer[] = [];
    let size = 0;
    for (;;) {
      const { bytesRead, buffer } = await handle.read(
        Buffer.allocUnsafe(CHUNK_BYTES),
        0,
        CHUNK_BYTES,
      );
      if (bytesRead === 0) break;
      let begin = 0;
      for (
        let end = feedFrom(buffer, 0, bytesRead);
        end >= 0;
        end = feedFrom(buffer, begin, bytesRead)
      ) {
        if (size + end - begin <= MAX_LINE_BYTES)
          yield Buffer.concat([...pieces, buffer.subarray(begin, end)]);
        begin = end + 1;
        pieces = [];
        size = 0;
      }
      size += bytesRead - begin;
      if (size <= MAX_LINE_BYTES) pieces.push(buffer.subarray(begin, bytesRead));
      else pieces = [];
    }
    if (size <= MAX_LINE_BYTES) yield Buffer.concat(pieces);
  } finally {
    await handle.close();
  }
}

/** Where the next line ends; -1 where it does not within these bytes. */
function feedFrom(buffer: Buffer, begin: number, end: number): number {
  const at = buffer.indexOf(LINE_FEED, begin);
  return at < end ? at : -1;
}

const LINE_FEED = 0x0a;

/** Those of builds that wrote a file for each step; in no particular order. */
export async function readSingleRecords(folder: string): Promise<JsonObject[]> {
  const names = await listFolder(folder);
  const records = await Promise.all(
    names
      .filter((name) => name.endsWith('.json'))
      .map((name) => readJson(path.join(folder, name)).catch(() => null)),
  );
  return records.filter((record) => record !== null);
}

/** Both, of a run that two builds have carried on: of each step the record of the later try. */
export function mergeRecords(
  single: readonly JsonObject[],
  appended: readonly JsonObject[],
): JsonObject[] {
  const merged = new Map(single.map((record) => [record['path'], record]));
  for (const record of appended) {
    const other = merged.get(record['path']);
    if (other === undefined || beganAt(other) <= beganAt(record))
      merged.set(record['path'], record);
  }
  return [...merged.values()];
}

/** A time in ISO 8601, which sorts as text; before all others where there is none. */
function beganAt({ startedAt }: JsonObject): string {
  return typeof startedAt === 'string' ? startedAt : '';
}

function parse(line: string): JsonObject | null {
  if (line === '') return null;
  try {
    const value: unknown = JSON.parse(line);
    return isJsonObject(value) ? value : null;
  } catch {
    return null;
  }
}
