/** The paths of a plan's steps; for an item of a list, whose number only the run knows, stands `#*`. */
import type { ErrorReport } from './error.js';
import { hasItems, innerBlocks } from './inner-blocks.js';
import type { Plan, PlanStep } from './plan.js';

/** Most paths that a message lists. */
const MAX_LISTED = 40;

/**
 * The path that a person's name for a step means: a path, or the id of a step (`#*` in it stands for each item); null
 * when the plan has no such step. The path of an item (`candidates#1`) means the item.
 */
export function findStepPath(plan: Plan, name: string): string | null {
  const entries = entriesOf(plan.steps, '');
  const pattern = toPattern(name);
  if (entries.some(({ path }) => path === pattern)) return name;
  // An id is unique in its file only: that of the file itself goes before one of a file that it calls.
  const named = entries.filter(({ id }) => id === name).sort((a, b) => a.calls - b.calls);
  return named[0]?.path ?? null;
}

/** The path with `#*` in place of the numbers of items. */
export function toPattern(path: string): string {
  return path.replace(/#\d+(?=\/|$)/g, '#*');
}

/** True when `path` is inside of the block, or of the item, at `block`. */
export function isInside(path: string, block: string): boolean {
  return path.startsWith(`${block}/`) || path.startsWith(`${block}#`);
}

/** The items and iterations that a path is inside of, outermost first: the path of each, and of its block. */
export function turnsAround(
  path: string,
): Array<{ readonly turn: string; readonly block: string }> {
  return [...path.matchAll(/#\d+(?=\/)/g)].map(({ 0: number, index }) => ({
    turn: path.slice(0, index + number.length),
    block: path.slice(0, index),
  }));
}

/** What to tell somebody who named a step that is not there. */
export function unknownStepReport(plan: Plan, name: string): ErrorReport {
  const paths = entriesOf(plan.steps, '')
    .filter(({ path }) => !path.endsWith('#*'))
    .map(({ path }) => path.replaceAll('#*', '#0'));
  const listed = paths.slice(0, MAX_LISTED).join(', ');
  const more = paths.length > MAX_LISTED ? `, and ${paths.length - MAX_LISTED} more` : '';
  return {
    code: 'STEP_PATH_UNKNOWN',
    message: `The pipeline ${plan.pipeline} has no step \`${name}\`; it has ${listed}${more}.`,
    hint: 'Name a step by its id or its path.',
  };
}

interface Entry {
  readonly path: string;
  readonly id?: string;
  /** How many files were called on the way to it. */
  readonly calls: number;
}

function entriesOf(steps: readonly PlanStep[], prefix: string, calls = 0): Entry[] {
  return steps.flatMap((step) => {
    const path = `${prefix}${step.key}`;
    return [
      { path, calls, ...(step.id === undefined ? {} : { id: step.id }) },
      ...(hasItems(step) ? [{ path: `${path}#*`, calls }] : []),
      ...innerBlocks(step).flatMap(({ steps: inner, infix }) =>
        entriesOf(inner, `${path}${infix}`, calls),
      ),
      ...(step.kind === 'pipeline' ? entriesOf(step.called.steps, `${path}/`, calls + 1) : []),
    ];
  });
}
