import { z } from 'zod';
import type { OpenBundle } from '../../adapters/bundle/read-bundle.js';
import { applyPatch, type BaseFile, type FileState } from '../../adapters/git/apply-patch.js';
import { fileRefSchema, patchSchema } from '../../compiler/values.js';
import { StepError } from '../../core/error.js';
import {
  check,
  checksWithoutRecord,
  CheckEnd,
  failed,
  outputsOf,
  readFileOf,
  readJsonOf,
  shaped,
  stepsOf,
} from './check.js';
import type { Check } from './check.js';

const MOST_FILES = 500;
/** All files that a patch changes together: a list may name one large file again and again. */
const MOST_BASE_BYTES = 64 * 1024 * 1024;
/** What the binary parts of a patch may unpack to, and how many may be deltas, which do not say to how much. */
const MOST_BINARY_BYTES = 64 * 1024 * 1024;
const MOST_DELTAS = 16;

const state = z.object({ mode: z.string(), object: z.string() });
const baseSchema = z.object({
  format: z.literal('adit-patch-base/1'),
  commit: z.string(),
  tree: z.string(),
  files: z.array(
    z.object({
      path: z.string(),
      before: state.extend({ file: fileRefSchema }).nullable(),
      after: state.nullable(),
    }),
  ),
});

/** Whether each patch turns the files of its commit into those that were measured. */
export async function checkPatches(bundle: OpenBundle, searchPath: string): Promise<Check[]> {
  const checks = checksWithoutRecord(bundle, 'patch', 'workspace.patch');
  for (const record of stepsOf(bundle, 'workspace.patch')) {
    const outputs = outputsOf(record);
    if (outputs === null) continue;
    checks.push(
      await check('patch', record.name, () => applies(bundle, outputs['patch'], searchPath)),
    );
  }
  return checks;
}

async function applies(bundle: OpenBundle, value: unknown, searchPath: string): Promise<string> {
  const patch = shaped(value, patchSchema, 'the patch');
  if (patch.baseSha256 === undefined)
    throw new CheckEnd('not made', 'the run is of a build that kept no files for it');
  const { value: base } = await readJsonOf(bundle, patch.baseSha256, {
    what: 'the list of what the patch changes',
    schema: baseSchema,
  });
  if (base.commit !== patch.commit || base.tree !== patch.tree)
    throw failed('the files that were kept are of another commit or tree than the patch');
  if (base.files.length > MOST_FILES)
    throw new CheckEnd('not made', `it changes ${base.files.length} files`);
  if (new Set(base.files.map(({ path }) => path)).size < base.files.length)
    throw failed('the list of what the patch changes names a file twice');
  const files: BaseFile[] = [];
  let left = MOST_BASE_BYTES;
  for (const { path, before } of base.files) {
    if (before === null) continue;
    const bytes = await readFileOf(bundle, before.file.sha256, `the file ${path}`);
    left -= bytes.length;
    if (left < 0)
      throw new CheckEnd('not made', `it changes files of more than ${MOST_BASE_BYTES} bytes`);
    files.push({ path, mode: before.mode, bytes });
  }
  const diff = await readFileOf(bundle, patch.file.sha256, 'the patch');
  assertNoBomb(diff);
  const applied = await applyOrSay(files, diff, searchPath);
  if ('reason' in applied) throw failed(`it does not apply: ${applied.reason}`);
  const wanted = (when: 'before' | 'after'): [string, FileState][] =>
    base.files.flatMap((file) => (file[when] === null ? [] : [[file.path, file[when]]]));
  assertSame(applied.before, wanted('before'), 'the commit');
  assertSame(applied.after, wanted('after'), 'the measured tree');
  return `it applies, and gives the measured content of ${base.files.length} files`;
}

/** What is binary in a patch is packed: git would unpack all of it in memory. */
function assertNoBomb(patch: Buffer): void {
  let unpacked = 0;
  let deltas = 0;
  for (const [, kind, size] of patch.toString('latin1').matchAll(/^(literal|delta) (\d+)/gm)) {
    unpacked += Number(size);
    if (kind === 'delta') deltas += 1;
  }
  if (unpacked > MOST_BINARY_BYTES || deltas > MOST_DELTAS)
    throw new CheckEnd('not made', 'it holds more binary content than is unpacked here');
}

async function applyOrSay(files: readonly BaseFile[], patch: Buffer, searchPath: string) {
  try {
    return await applyPatch(files, patch, searchPath);
  } catch (error) {
    if (error instanceof StepError) throw new CheckEnd('not made', error.message);
    throw error;
  }
}

function assertSame(
  found: ReadonlyMap<string, FileState>,
  wanted: readonly (readonly [string, FileState])[],
  whose: string,
): void {
  const expected = new Map(wanted);
  for (const file of new Set([...found.keys(), ...expected.keys()])) {
    const [is, should] = [found.get(file), expected.get(file)];
    if (is?.object === should?.object && is?.mode === should?.mode) continue;
    throw failed(`${file} comes out other than in ${whose}`);
  }
}
