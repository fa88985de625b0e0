import { clean, paint, print } from '../output.js';
import { table } from '../table.js';
import type { VerifiedBundle, Verdict } from './verify-bundle.js';

/** Most absent files that are listed one by one. */
const LISTED = 20;

const WORDS: { readonly [V in Verdict]: string } = {
  authentic: 'authentic: the bundle with this root, every byte of it, and its evidence holds',
  consistent:
    'consistent, not proven authentic: whoever writes all of it anew can make such a bundle; give --root from the run itself',
  incomplete: 'incomplete: nothing contradicts, and not everything could be checked',
  wrong: 'WRONG',
};

export function printVerified(bundle: VerifiedBundle): void {
  const { verdict, runId, status, root, files, absent, problems, checks } = bundle;
  if (runId !== '') print(`${paint.bold(clean(runId))}  ${clean(status)}  ${files} files`);
  if (root !== '') print(`root: ${clean(root)}`);
  for (const { place, message } of problems) print(`${clean(place)}: ${clean(message)}`);
  const rows = checks.map(({ check, step, result, message }) => [
    { passed: paint.green, failed: paint.red, 'not made': paint.yellow }[result](result),
    check,
    clean(step),
    clean(message),
  ]);
  if (rows.length > 0) print(table(rows));
  for (const { sha256, sizeBytes, role, why } of absent.slice(0, LISTED))
    print(`not in it (${why}): ${role} ${sha256}, ${sizeBytes} bytes`);
  if (absent.length > LISTED) print(`… and ${absent.length - LISTED} more that are not in it`);
  print((verdict === 'wrong' ? paint.red : paint.bold)(WORDS[verdict]));
}
