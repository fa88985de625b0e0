import { placeOf, type Diagnostics } from './diagnostic.js';
import type { CallStep, Pipeline, Step } from './pipeline.js';
import { FileNames, type IdPlace } from './scope.js';

/** A server takes no activity id beyond 1,000 characters, and a run that asks for one hangs. */
const MAX_PATH_LENGTH = 800;

/** Most names of a wrong form that are looked for in each expression. */
const MAX_ILL_FORMED = 20;

/**
 * Every id of a file, with its place; what is wrong with ids and paths is told. `longestIn` is the length of the longest
 * path in the file that a step calls.
 */
export function collectNames(
  { steps, inputs }: Pipeline,
  diagnostics: Diagnostics,
  longestIn: (step: CallStep) => number,
): FileNames {
  const ids = new Map<string, IdPlace>();
  const broken = new Set<string>();
  const values = new Set<string>();
  const illFormed = inputs.flatMap(({ name }) => (name.includes('-') ? [`inputs.${name}`] : []));
  const visit = (list: readonly Step[], around: readonly Step[], prefix: number): void => {
    for (const step of list) {
      const length = prefix + step.key.length;
      const inCalled = step.kind === 'pipeline' ? longestIn(step) : 0;
      const isLong = length + inCalled > MAX_PATH_LENGTH;
      // Told where it is passed; the steps inside are too long for the same reason.
      if (isLong) {
        diagnostics.add(
          'ID_INVALID',
          step.range,
          `the path of ${inCalled === 0 ? 'this step' : 'a step in the file that this step calls'} is longer than ${MAX_PATH_LENGTH} characters`,
          'use shorter ids, or fewer blocks inside of blocks',
        );
      }
      if (step.brokenId !== undefined) broken.add(step.brokenId);
      if (step.brokenId?.includes('-') === true) illFormed.push(`steps.${step.brokenId}`);
      if (step.kind === 'broken') step.ids.forEach((id) => broken.add(id));
      else if (step.id !== undefined) {
        const { value, range } = step.id;
        const first = ids.get(value);
        if (first === undefined) {
          ids.set(value, {
            range,
            foreach: around.map(({ key }) => key),
            blocks: around.map((block) => block.range.start),
            kind: step.kind,
            hasOutputs: ['step', 'foreach', 'repeat', 'pipeline', 'approve'].includes(step.kind),
          });
        } else {
          const { line } = placeOf(diagnostics.source, first.range.start);
          diagnostics.add(
            'ID_DUPLICATE',
            range,
            `the id \`${value}\` is already used on line ${line}`,
            'ids are unique in a file',
          );
        }
      }
      // Between come `#` and the number of an item, `finally`, `catch` with a number, and slashes.
      const inside = isLong ? Number.NEGATIVE_INFINITY : length + 10;
      const isMany = step.kind === 'foreach' || step.kind === 'repeat';
      for (const name of namesOf(step)) values.add(name);
      visit(innerSteps(step), isMany ? [...around, step] : around, inside);
    }
  };
  visit(steps, [], 0);
  return new FileNames(ids, broken, values, illFormed.slice(0, MAX_ILL_FORMED));
}

/** The names that a block gives to values. */
function namesOf(step: Step): string[] {
  if (step.kind === 'try') return step.catch.map(({ as }) => as.value);
  const isMany = step.kind === 'foreach' || step.kind === 'repeat';
  return isMany && step.as !== undefined ? [step.as.value] : [];
}

/** The steps in the lists of a step, in document order. */
function innerSteps(step: Step): readonly Step[] {
  switch (step.kind) {
    case 'foreach':
    case 'repeat':
      return step.steps;
    case 'parallel':
      return step.branches.map((branch) => branch.step);
    case 'try':
      return [...step.steps, ...step.catch.flatMap(({ steps }) => steps), ...step.finally];
    case 'if':
      return [...step.then, ...step.else];
    case 'step':
    case 'approve':
    case 'wait':
    case 'stop':
    case 'pipeline':
    case 'broken':
      return [];
  }
}

/** The ids of a step and of all that is in it. */
export function idsOf(step: Step): string[] {
  if (step.kind === 'broken') return [...step.ids];
  return [...(step.id === undefined ? [] : [step.id.value]), ...innerSteps(step).flatMap(idsOf)];
}
