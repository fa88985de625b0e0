/** What a check of a bundle's evidence comes to, and how it reads what it needs. */
import type { z } from 'zod';
import type { BundleRecord } from '../../adapters/bundle/chain.js';
import type { OpenBundle } from '../../adapters/bundle/read-bundle.js';
import { canonicalJson } from '../../core/canonical-json.js';
import { isNestedTooDeeply } from '../../core/json-depth.js';
import { isJsonObject, type Json, type JsonObject } from '../../core/json.js';

export interface Check {
  readonly check: 'measurement' | 'patch' | 'gate' | 'submission' | 'acceptance' | 'proof';
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

/** Largest evidence that is read into memory. */
const MOST_BYTES = 64 * 1024 * 1024;

/** The bytes of a file of the bundle. Ends the check when they are not there. */
export async function readFileOf(
  bundle: OpenBundle,
  sha256: string,
  what: string,
): Promise<Buffer> {
  const bytes = await bundle.read(sha256, MOST_BYTES);
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
  const raw = parseJson((await readFileOf(bundle, sha256, what)).toString('utf8'));
  if (!isJsonObject(raw)) throw failed(`${what} is no JSON object`);
  return { value: shaped(raw, schema, what), raw };
}

/** Null for what is no JSON, or nested too deeply. */
function parseJson(text: string): Json {
  try {
    const value = JSON.parse(text) as Json;
    return isNestedTooDeeply(value) ? null : value;
  } catch {
    return null;
  }
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
