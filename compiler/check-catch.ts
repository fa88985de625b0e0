import { isStepErrorCode, STEP_ERRORS } from '../core/error.js';
import type { Diagnostics } from './diagnostic.js';
import type { CatchClause } from './pipeline.js';

/** A clause of a `catch`, or a code in it, that can never be chosen is a mistake. `before` are the clauses above it. */
export function checkReachable(
  { errors, range }: CatchClause,
  before: readonly CatchClause[],
  diagnostics: Diagnostics,
): void {
  const isBehindAll = before.some((clause) => clause.errors === undefined);
  if (isBehindAll) {
    // Told once, at the first of them.
    if (before.at(-1)?.errors !== undefined) return;
    diagnostics.add(
      'CATCH_UNREACHABLE',
      range,
      'a clause before this one takes every failure',
      'move the clause without `errors` to the end',
    );
    return;
  }
  const taken = new Set(before.flatMap((clause) => clause.errors?.map(({ value }) => value) ?? []));
  for (const { value, range: at } of errors ?? []) {
    if (taken.has(value)) {
      diagnostics.add(
        'CATCH_UNREACHABLE',
        at,
        `\`${value}\` is already taken, here or by a clause before this one`,
        'remove one of them',
      );
    } else if (isStepErrorCode(value) && STEP_ERRORS[value].ends !== 'failed') {
      const asks = STEP_ERRORS[value].ends === 'asks' ? 'asks a person, and then ' : '';
      diagnostics.add(
        'CATCH_UNREACHABLE',
        at,
        `\`${value}\` ${asks}ends the run as stopped, which \`catch\` does not take`,
        'it is a decision, not a failure; use `finally` for what must happen in any case',
      );
    }
    taken.add(value);
  }
}
