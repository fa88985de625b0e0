import { isStepErrorCode, STEP_ERRORS } from '../core/error.js';
import type { Diagnostics } from './diagnostic.js';
import type { CatchClause } from './pipeline.js';

/** What the clauses of a `catch` take, from the first to the one that is looked at. */
export interface Taken {
  readonly codes: Set<string>;
  /** A clause takes every code: `told` when one behind it is told. */
  all: 'open' | 'taken' | 'told';
}

/** A clause of a `catch`, or a code in it, that can never be chosen is a mistake; adds to `taken` what it takes. */
export function checkReachable(
  { errors, range }: CatchClause,
  taken: Taken,
  diagnostics: Diagnostics,
): void {
  if (taken.all !== 'open') {
    // Told once, at the first of them.
    if (taken.all === 'told') return;
    taken.all = 'told';
    diagnostics.add(
      'CATCH_UNREACHABLE',
      range,
      'a clause before this one takes every failure',
      'move the clause without `errors` to the end',
    );
    return;
  }
  if (errors === undefined) taken.all = 'taken';
  for (const { value, range: at } of errors ?? []) {
    if (taken.codes.has(value)) {
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
    taken.codes.add(value);
  }
}
