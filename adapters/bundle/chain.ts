/**
 * The chain of a bundle: one text that holds every record of a run and the digest of every file, each line bound to all
 * lines before it.
 *
 *   <link> {"format":"adit-bundle","version":1,"lines":42,"runId":…}
 *   <link> {"record":"plan","name":"plan","value":{…}}
 *   <link> {"file":"<sha256>","sizeBytes":1234,"role":"evidence"}
 *
 * Invariants:
 * 1. A link is the SHA-256 of the link before it (empty before the first) and the text behind it, in lower-case hex.
 * 2. The last link is the root: whoever has it from elsewhere needs to trust nothing else in the bundle.
 * 3. Each line ends with a line feed, and there is no second way to write what it says: no other order of members, no
 *    member twice, no blank, no byte that is no text.
 */
import { createHash } from 'node:crypto';
import { measureJson } from '../../core/json-bounds.js';
import { isJsonObject, type Json, type JsonObject } from '../../core/json.js';

const BUNDLE_FORMAT = 'adit-bundle';
export const BUNDLE_VERSION = 1;

/** Longest chain, in bytes, and longest line of it. */
export const MAX_CHAIN_BYTES = 128 * 1024 * 1024;
export const MAX_LINE_BYTES = 16 * 1024 * 1024;
/** Most values in all of its lines: what they are in memory is many times what they are as text. */
export const MAX_CHAIN_VALUES = 4_000_000;

/** A stranger's chain is given up after so many; one changed byte makes two at most. */
const MAX_PROBLEMS = 100;

const LINK_CHARS = 64;
const LINE_FEED = 0x0a;

const RECORD_KINDS = ['environment', 'plan', 'run', 'part', 'step', 'program', 'effect'] as const;
export type RecordKind = (typeof RECORD_KINDS)[number];

export interface BundleRecord {
  readonly record: RecordKind;
  /** Unique among the records of a kind: a step path, or what else tells it from its like. */
  readonly name: string;
  readonly value: JsonObject;
}

export interface BundleFile {
  /** SHA-256 of its bytes. */
  readonly file: string;
  readonly sizeBytes: number;
  /** `artifact`: what was trained; it may be large, and a bundle may be made without it. */
  readonly role: 'artifact' | 'evidence';
}

export interface BundleHead {
  readonly format: typeof BUNDLE_FORMAT;
  readonly version: number;
  /** How many lines the chain has, this one included. */
  readonly lines: number;
  readonly runId: string;
  readonly roundId: string;
  readonly pipeline: string;
  readonly status: string;
}

/** The text of a chain, and its root. */
export function writeChain(
  about: Pick<BundleHead, 'runId' | 'roundId' | 'pipeline' | 'status'>,
  lines: readonly (BundleRecord | BundleFile)[],
): { readonly text: string; readonly root: string } {
  const head: BundleHead = {
    format: BUNDLE_FORMAT,
    version: BUNDLE_VERSION,
    lines: lines.length + 1,
    ...about,
  };
  const texts: string[] = [];
  let link = '';
  for (const line of [head, ...lines]) {
    const body = JSON.stringify(line);
    link = linkOf(link, Buffer.from(body));
    texts.push(`${link} ${body}\n`);
  }
  return { text: texts.join(''), root: link };
}

function linkOf(before: string, body: Uint8Array): string {
  return createHash('sha256').update(before).update(body).digest('hex');
}

/** The last link of a chain, without a look at the rest; null where there is none. */
export function rootOf(chain: Buffer): string | null {
  const end = chain.at(-1) === LINE_FEED ? chain.length - 1 : chain.length;
  const begin = end === 0 ? 0 : chain.lastIndexOf(LINE_FEED, end - 1) + 1;
  const link = chain.subarray(begin, begin + LINK_CHARS).toString('latin1');
  return isDigest(link) ? link : null;
}

/** What is wrong with a bundle, and where. */
export interface BundleProblem {
  /** `bundle.chain, line 7 (step baseline)`, `files/<sha256>`: the part that holds the wrong byte. */
  readonly place: string;
  readonly message: string;
}

export interface Chain {
  /** Null when the first line is damaged, or of another version. */
  readonly head: BundleHead | null;
  /** The version that an undamaged first line says; null where it says none. */
  readonly version: number | null;
  readonly records: readonly BundleRecord[];
  readonly files: readonly BundleFile[];
  /** The link that the last line carries; empty when there is no line. */
  readonly root: string;
  readonly problems: readonly BundleProblem[];
}

/** Reads a chain whole, and compares each link; nothing is thrown for what is wrong with it. */
export function readChain(bytes: Buffer): Chain {
  const problems: BundleProblem[] = [];
  const records: BundleRecord[] = [];
  const files: BundleFile[] = [];
  const known = new Set<string>();
  let head: BundleHead | null = null;
  let version: number | null = null;
  let values = 0;
  let before = '';
  let number = 0;
  let at = 0;
  while (at < bytes.length && problems.length < MAX_PROBLEMS) {
    number += 1;
    const feed = bytes.indexOf(LINE_FEED, at);
    const end = feed < 0 ? bytes.length : feed;
    const line = bytes.subarray(at, end);
    at = end + 1;
    const read = readLine(line, before);
    const what = read.value === null ? '' : whatIs(read.value);
    const place = `bundle.chain, line ${number}${what === '' ? '' : ` (${what})`}`;
    before = read.link;
    if (feed < 0)
      problems.push({ place, message: 'it does not end with a line feed: the chain is cut off' });
    values += read.values;
    if (values > MAX_CHAIN_VALUES) {
      const message = `the chain has more than ${MAX_CHAIN_VALUES} values up to here; no more are read`;
      problems.push({ place, message });
      return { head, version, records, files, root: before, problems };
    }
    if (read.problem !== null) {
      problems.push({ place, message: read.problem });
      continue;
    }
    const kind = number === 1 ? 'head' : kindOf(read.value);
    if (number === 1) {
      head = toHead(read.value);
      version = versionOf(read.value);
      if (version !== null && version !== BUNDLE_VERSION) {
        const message = `it is of version ${version}; this build reads version ${BUNDLE_VERSION}`;
        return { head, version, records, files, root: before, problems: [{ place, message }] };
      }
    }
    const name = JSON.stringify([read.value['record'], read.value['file'], read.value['name']]);
    if (kind === null || (number === 1 && head === null))
      problems.push({ place, message: 'it is not what such a line may hold' });
    else if (known.has(name)) problems.push({ place, message: 'there is an earlier line like it' });
    else if (kind === 'record') records.push(read.value as JsonObject & BundleRecord);
    else if (kind === 'file') files.push(read.value as JsonObject & BundleFile);
    known.add(name);
  }
  if (number === 0) problems.push({ place: 'bundle.chain', message: 'it is empty' });
  const isWhole = at >= bytes.length;
  if (isWhole && head !== null && head.lines !== number) {
    problems.push({
      place: 'bundle.chain',
      message: `it has ${number} lines, and its first one promises ${head.lines}`,
    });
  }
  return { head, version, records, files, root: before, problems };
}

type ReadLine = { readonly link: string; readonly values: number } & (
  | { readonly value: JsonObject; readonly problem: null }
  | { readonly value: JsonObject | null; readonly problem: string }
);

function readLine(line: Buffer, before: string): ReadLine {
  const link = line.subarray(0, LINK_CHARS).toString('latin1');
  const failed = (problem: string, value: JsonObject | null = null, values = 0): ReadLine => ({
    link,
    value,
    values,
    problem,
  });
  if (line.length > MAX_LINE_BYTES) return failed(`it is longer than ${MAX_LINE_BYTES} bytes`);
  if (!isDigest(link) || line[LINK_CHARS] !== 0x20)
    return failed('it does not begin with a link and a blank');
  const body = line.subarray(LINK_CHARS + 1);
  const { isTooDeep, values } = measureJson(body);
  const isReadable = !isTooDeep && values <= MAX_CHAIN_VALUES;
  const value = isReadable ? parse(body) : null;
  if (linkOf(before, body) !== link)
    return failed('its link does not fit: it was changed', value, values);
  if (!isReadable)
    return failed('its JSON is nested too deeply, or of too many values', null, values);
  if (value === null) return failed('it is no JSON object', null, values);
  if (!Buffer.from(JSON.stringify(value)).equals(body))
    return failed('its JSON is not written as Adit writes it', value, values);
  return { link, value, values, problem: null };
}

function parse(body: Buffer): JsonObject | null {
  try {
    const value = JSON.parse(body.toString('utf8')) as Json;
    return isJsonObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** For people: which line it is, as far as it tells. */
function whatIs({ record, name, file }: JsonObject): string {
  if (typeof file === 'string') return `file ${file.slice(0, 64)}`;
  if (typeof record !== 'string' || typeof name !== 'string') return '';
  return record === name ? record : `${record} ${name}`;
}

function kindOf(value: JsonObject): 'record' | 'file' | null {
  if (hasMembers(value, ['record', 'name', 'value'])) {
    const isRecord =
      RECORD_KINDS.some((kind) => kind === value['record']) &&
      typeof value['name'] === 'string' &&
      isJsonObject(value['value']);
    return isRecord ? 'record' : null;
  }
  const { file, sizeBytes, role } = value;
  const isFile =
    hasMembers(value, ['file', 'sizeBytes', 'role']) &&
    isDigest(file) &&
    Number.isSafeInteger(sizeBytes) &&
    Number(sizeBytes) >= 0 &&
    (role === 'artifact' || role === 'evidence');
  return isFile ? 'file' : null;
}

/** Just these, in the order in which they are written. */
function hasMembers(value: JsonObject, names: readonly string[]): boolean {
  return Object.keys(value).join(' ') === names.join(' ');
}

function versionOf({ format, version }: JsonObject): number | null {
  return format === BUNDLE_FORMAT && typeof version === 'number' ? version : null;
}

const HEAD_MEMBERS = ['format', 'version', 'lines', 'runId', 'roundId', 'pipeline', 'status'];

function toHead(value: JsonObject): BundleHead | null {
  const isHead =
    hasMembers(value, HEAD_MEMBERS) &&
    versionOf(value) === BUNDLE_VERSION &&
    Number.isSafeInteger(value['lines']) &&
    ['runId', 'roundId', 'pipeline', 'status'].every((key) => typeof value[key] === 'string');
  return isHead ? (value as JsonObject & BundleHead) : null;
}

export function isDigest(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
}
