import { isStepErrorCode, STEP_ERRORS } from '../core/error.js';
import { innerBlocks } from '../core/inner-blocks.js';
import type { PlanStep } from '../core/plan.js';
import type { Diagnostics } from './diagnostic.js';
import type { CatchClause } from './pipeline.js';
import type { StepSignature } from './step-signature.js';

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

/**
 * A code in a clause that nothing in its `try` raises. What a step type says of its errors is no promise, since what it
 * uses may raise others of their kind: so a code counts as raised where one of its family (its first word) is, and
 * codes that are of no step type, or of any, are taken as they are.
 */
export function warnOfIdle(
  { errors }: CatchClause,
  steps: readonly PlanStep[],
  signatures: ReadonlyMap<string, StepSignature>,
  diagnostics: Diagnostics,
): void {
  if (errors === undefined) return;
  const raised = familiesIn(steps, signatures);
  if (raised === null) return;
  const declared = new Set([...signatures.values()].flatMap((one) => one.errors.map(familyOf)));
  for (const { value, range } of errors) {
    const family = familyOf(value);
    const isBlocks = family === 'FOREACH' || family === 'REPEAT';
    if (raised.has(family) || EVERYWHERE.has(family) || (!declared.has(family) && !isBlocks))
      continue;
    diagnostics.warn(
      'CATCH_IDLE',
      range,
      `nothing in this \`try\` raises \`${value}\``,
      'remove it, or catch what the steps in it raise: `adit steps TYPE` lists that',
    );
  }
}

/** Of what every step uses: the disk, files, the process host, settings. */
const EVERYWHERE: ReadonlySet<string> = new Set(['STEP', 'DISK', 'FILE', 'HOST', 'SETTING']);

/** Kinds of steps whose failures are those of their step type and of the steps in them. */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  'step',
  'foreach',
  'repeat',
  'parallel',
  'try',
  'if',
  'approve',
  'wait',
  'stop',
]);

function familyOf(code: string): string {
  return code.split('_', 1)[0] ?? code;
}

/** Null when what a step raises is not known. */
function familiesIn(
  steps: readonly PlanStep[],
  signatures: ReadonlyMap<string, StepSignature>,
): ReadonlySet<string> | null {
  const families = new Set<string>();
  const queue = [...steps];
  for (const step of queue) {
    if (!UNDERSTOOD.has(step.kind)) return null;
    if (step.kind === 'foreach') families.add('FOREACH');
    if (step.kind === 'repeat') families.add('REPEAT');
    if (step.kind === 'step') {
      const signature = signatures.get(step.uses);
      if (signature === undefined) return null;
      for (const code of signature.errors) families.add(familyOf(code));
      if (signature.program === true) families.add('PROGRAM').add('DEVICE');
    } else {
      for (const block of innerBlocks(step)) for (const inner of block.steps) queue.push(inner);
    }
  }
  return families;
}
