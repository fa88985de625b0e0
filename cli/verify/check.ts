/** What a check of a bundle's evidence comes to, and how it reads what it needs. */
import type { z } from 'zod';
import type { BundleRecord } from '../../adapters/bundle/chain.js';
import { MASK } from '../../adapters/bundle/masked-json.js';
import type { OpenBundle } from '../../adapters/bundle/read-bundle.js';
import { canonicalJson } from '../../core/canonical-json.js';
import { measureJson } from '../../core/json-bounds.js';
import { isJsonObject, type Json, type JsonObject } from '../../core/json.js';

export interface Check {
  readonly check: 'run' | 'measurement' | 'patch' | 'gate' | 'submission' | 'acceptance' | 'proof';
  /** Path of the step that it is about. */
  readonly step: string;
  /** `not made`: something that it needs is not in the bundle. */
  readonly result: 'passed' | 'failed' | 'not made';
  /** What was found, for people. It may hold words of strangers. */
  readonly message: string;
}

/** Ends a check with what it came to. */
export class CheckEnd extends Error {
  readonly result: 'failed' | 'not made';

  constructor(result: 'failed' | 'not made', message: string) {
    super(message);
    this.result = result;
  }
}

export function failed(message: string): CheckEnd {
  return new CheckEnd('failed', message);
}

/** Runs one check; its text is what was found when all is right. */
export async function check(
  name: Check['check'],
  step: string,
  body: () => Promise<string>,
): Promise<Check> {
  try {
    return { check: name, step, result: 'passed', message: await body() };
  } catch (error) {
    if (!(error instanceof CheckEnd)) throw error;
    return { check: name, step, result: error.result, message: error.message };
  }
}

/** Largest evidence that is read into memory, and largest that is parsed. */
const MOST_BYTES = 64 * 1024 * 1024;
const MOST_JSON_BYTES = 16 * 1024 * 1024;

/** The bytes of a file of the bundle. Ends the check when they are not there. */
export async function readFileOf(
  bundle: OpenBundle,
  sha256: string,
  what: string,
  mostBytes = MOST_BYTES,
): Promise<Buffer> {
  const bytes = await bundle.read(sha256, mostBytes);
  if (bytes !== null) return bytes;
  const gone = bundle.absent.find(({ file }) => file.file === sha256);
  const why =
    gone === undefined
      ? bundle.chain.files.some(({ file }) => file === sha256)
        ? 'is too large to be read'
        : 'is not named by the bundle'
      : { missing: 'is missing', secret: 'is withheld for a secret', 'left-out': 'was left out' }[
          gone.why
        ];
  throw new CheckEnd('not made', `${what}, ${sha256.slice(0, 12)}, ${why}`);
}

/** The same as JSON in the shape of `schema`, and as it is written. */
export async function readJsonOf<T extends z.ZodType>(
  bundle: OpenBundle,
  sha256: string,
  { what, schema }: { readonly what: string; readonly schema: T },
): Promise<{ readonly value: z.output<T>; readonly raw: JsonObject }> {
  const bytes = await readFileOf(bundle, sha256, what, MOST_JSON_BYTES);
  assertBounded(bytes, what);
  const raw = parseJson(bytes.toString('utf8'));
  if (!isJsonObject(raw)) throw failed(`${what} is no JSON object`);
  return { value: shaped(raw, schema, what), raw };
}

/** Null for what is no JSON. */
function parseJson(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return null;
  }
}

/** Most values of evidence that is parsed: what they are in memory is many times what they are as text. */
const MOST_VALUES = 2_000_000;

/** Ends the check for JSON of which a parser would make too much. */
export function assertBounded(text: Buffer, what: string): void {
  const { isTooDeep, values } = measureJson(text);
  if (isTooDeep) throw failed(`${what} is nested too deeply`);
  if (values > MOST_VALUES)
    throw new CheckEnd('not made', `${what} has more than ${MOST_VALUES} values`);
}

/** A value in the shape of `schema`; ends the check when it has another. */
export function shaped<T extends z.ZodType>(value: unknown, schema: T, what: string): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw failed(
    `${what} has another shape than it should: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`,
  );
}

/** The value as its one text. Ends the check for what no JSON can hold: a stranger's `1e999` is read as infinite. */
export function canonical(value: Json): string {
  try {
    return canonicalJson(value);
  } catch (error) {
    if (error instanceof RangeError) throw failed('it holds a number that is none');
    throw error;
  }
}

/** The records of the steps of a type. */
export function stepsOf(bundle: OpenBundle, uses: string): BundleRecord[] {
  return bundle.records('step').filter(({ value }) => value['uses'] === uses);
}

/** The outputs of a step that succeeded; null for any other. */
export function outputsOf({ value }: BundleRecord): JsonObject | null {
  const { status, outputs } = value;
  return status === 'succeeded' && isJsonObject(outputs) ? outputs : null;
}

/** The digest of the evidence that the error of a step names; null when it names none. */
export function evidenceOfError({ value }: BundleRecord): string | null {
  const error = value['error'];
  const hint = isJsonObject(error) ? error['hint'] : null;
  return typeof hint === 'string' ? (/\bstore: ?([0-9a-f]{64})\b/.exec(hint)?.[1] ?? null) : null;
}

/** The steps that succeeded by the record of the run, or of a part of it, and have no record of their own that says so. */
export function recordlessSteps(
  bundle: OpenBundle,
): readonly { readonly path: string; readonly uses: string }[] {
  const told = new Set(
    bundle
      .records('step')
      .filter((record) => outputsOf(record) !== null)
      .map(({ name }) => name),
  );
  return [...bundle.records('run'), ...bundle.records('part')].flatMap(({ value }) => {
    const steps = Array.isArray(value['steps']) ? value['steps'].filter(isJsonObject) : [];
    return steps.flatMap(({ path, uses, status }) => {
      const isMeant =
        typeof path === 'string' &&
        typeof uses === 'string' &&
        // A block has no record: its steps have.
        uses.includes('.') &&
        status === 'succeeded';
      return isMeant && !told.has(path) ? [{ path, uses }] : [];
    });
  });
}

/** The checks of a type of step that cannot be made: the record lies on another machine, or was taken out. */
export function checksWithoutRecord(
  bundle: OpenBundle,
  name: Check['check'],
  uses: string,
): Check[] {
  return recordlessSteps(bundle)
    .filter((step) => step.uses === uses)
    .map(({ path }) => ({
      check: name,
      step: path,
      result: 'not made',
      message: 'what the step returned is not in the bundle',
    }));
}

/**
 * For what no step of the bundle has returned: wrong where every step has its record, unmasked; else it cannot be told.
 */
export function notFromHere(bundle: OpenBundle, message: string): CheckEnd {
  const [step] = recordlessSteps(bundle);
  if (step !== undefined)
    return new CheckEnd('not made', `${message}, and what ${step.path} returned is not in it`);
  const isMasked = bundle.records('step').some(({ value }) => JSON.stringify(value).includes(MASK));
  return isMasked
    ? new CheckEnd('not made', `${message}, and records in it are masked`)
    : failed(message);
}
