/**
 * Walks a plan as the interpreter would (core/interpreter.ts), without running anything: what would run, what is known
 * of it, and what a retry takes over.
 */
import { catchInfix } from '../../core/inner-blocks.js';
import type { Json, JsonObject } from '../../core/json.js';
import { isInside } from '../../core/plan-paths.js';
import type {
  ForeachStep,
  ParallelStep,
  PipelineStep,
  Plan,
  PlanStep,
  RepeatStep,
  TryStep,
} from '../../core/plan.js';
import { forget, isClosed, sizeOf } from './inner-steps.js';
import { knownExpression, knownTemplate, type KnownFrame } from './known-value.js';
import {
  everyStep,
  isToRun,
  type PlannedBlock,
  type PlannedStep,
  type Reason,
  type Will,
} from './planned-step.js';
import { isKept, itemsKnown } from './reuse-reasons.js';
import { termsOf } from './step-terms.js';
import { brokenReason, decide, KEPT, type Place, type PreviewOptions, type Walk } from './walk.js';

/** Most items of a list that are told one by one, and most steps that are told in all before lists are told once for all. */
const MAX_ITEMS = 20;
const MAX_STEPS = 500;

export function previewPlan(plan: Plan, options: PreviewOptions): PlannedStep[] {
  const walk: Walk = { ...options, left: MAX_STEPS, ended: null };
  const round = options.retry?.roundId;
  const frame: KnownFrame = {
    names: {},
    roots: {
      inputs: { values: plan.inputs, unknown: [] },
      run: {
        values: { pipeline: plan.pipeline, ...(round === undefined ? {} : { round }) },
        unknown: round === undefined ? ['id', 'round'] : ['id'],
      },
    },
    steps: {},
  };
  const flow = { dropped: false, again: new Set<string>(), around: null };
  return previewList(plan.steps, { prefix: '', frame, may: false, whole: false, flow }, walk);
}

function previewList(steps: readonly PlanStep[], place: Place, walk: Walk): PlannedStep[] {
  return steps.map((step) => {
    const planned = previewStep(step, place, walk);
    // A block ends the run as well where what is inside of it was not come by.
    const { until } = walk;
    const isPassed =
      until === planned.path || (until !== undefined && isInside(until, planned.path));
    if (isPassed && walk.ended === null) walk.ended = `the run is to end behind ${planned.path}`;
    return planned;
  });
}

function previewStep(step: PlanStep, place: Place, walk: Walk): PlannedStep {
  walk.left -= 1;
  const path = `${place.prefix}${step.key}`;
  const { frame, flow } = place;
  const decided = decide(step, path, place, walk);
  const { will } = decided;
  if (will === 'skipped' || will === 'not_reached') {
    forget(step, frame);
  } else if (will === 'reused') {
    const outputs = walk.retry?.after.steps[path]?.outputs;
    const isGiven = walk.retry?.isExact === true || step.kind === 'step' || step.kind === 'approve';
    if (step.id !== undefined && outputs !== undefined && isGiven) frame.steps[step.id] = outputs;
  } else if (step.id !== undefined) {
    flow.again.add(step.id);
  }
  const isOpen = will === 'runs' || will === 'may_run';
  const inside: Place = {
    ...place,
    prefix: `${path}/`,
    may: will === 'may_run' || place.may,
    whole: place.whole || will === 'reused',
    flow: { ...flow, again: new Set(flow.again) },
  };
  const blocks =
    isOpen || (will === 'reused' && !isClosed(step)) ? blocksOf(step, path, inside, walk) : [];
  const terms = termsOf(step, frame, walk);
  if (isOpen) flow.dropped = true;
  if (step.kind === 'stop' && will === 'runs' && walk.ended === null) {
    const reason = terms.with['reason'];
    const words = reason === undefined ? '' : reason.known ? String(reason.value) : reason.text;
    walk.ended = `the run ends as stopped at ${path}: ${words}`;
  }
  const broken = isOpen ? brokenReason(terms.with) : null;
  return {
    path,
    key: step.key,
    uses: step.kind === 'step' ? step.uses : step.kind,
    condition: null,
    times: 1,
    ...terms,
    ...decided,
    ...(broken === null ? {} : { reason: broken }),
    blocks,
  };
}

function blocksOf(step: PlanStep, path: string, place: Place, walk: Walk): PlannedBlock[] {
  switch (step.kind) {
    case 'foreach':
      return [foreachBlock(step, path, place, walk)];
    case 'repeat':
      return [repeatBlock(step, path, place, walk)];
    case 'parallel':
      return [parallelBlock(step, path, place, walk)];
    case 'try':
      return tryBlocks(step, path, place, walk);
    case 'if': {
      const test = knownExpression(step.test, place.frame);
      const isThen = place.whole
        ? Object.keys(walk.retry?.after.steps ?? {}).some((one) => one.startsWith(`${path}/then/`))
        : test.known
          ? test.value === true
          : null;
      const text = test.known ? String(test.value) : test.text.slice(4, -3);
      return [
        branchBlock(`if ${text}`, step.then, { ...place, prefix: `${path}/then/` }, isThen, walk),
        ...(step.else.length === 0
          ? []
          : [
              branchBlock(
                'else',
                step.else,
                { ...place, prefix: `${path}/else/` },
                isThen === null ? null : !isThen,
                walk,
              ),
            ]),
      ];
    }
    case 'pipeline':
      return [calledBlock(step, place, walk)];
    default:
      return [];
  }
}

function sequence(title: string, steps: readonly PlannedStep[]): PlannedBlock {
  return { title, order: 'sequence', atOnce: null, steps };
}

/** `isTaken` is null where only the run tells. */
function branchBlock(
  title: string,
  steps: readonly PlanStep[],
  place: Place,
  isTaken: boolean | null,
  walk: Walk,
): PlannedBlock {
  if (isTaken !== false) {
    const inside = { ...place, may: place.may || isTaken === null };
    return sequence(title, previewList(steps, inside, walk));
  }
  const reason: Reason = { code: 'condition', message: 'the other branch is taken' };
  return sequence(
    title,
    steps.map((step) => leftOut(step, 'skipped', reason, place, walk)),
  );
}

/** A step that certainly does not run, told in one line. */
function leftOut(
  step: PlanStep,
  will: 'skipped' | 'not_reached',
  reason: Reason,
  { prefix, frame }: Place,
  walk: Walk,
): PlannedStep {
  forget(step, frame);
  return {
    path: `${prefix}${step.key}`,
    key: step.key,
    uses: step.kind === 'step' ? step.uses : step.kind,
    condition: null,
    times: 1,
    ...termsOf(step, frame, walk),
    will,
    reason,
    blocks: [],
  };
}

function foreachBlock(step: ForeachStep, path: string, place: Place, walk: Walk): PlannedBlock {
  const items = knownExpression(step.items, place.frame);
  const list: ReadonlyArray<Json | undefined> | null =
    items.known && Array.isArray(items.value)
      ? items.value
      : walk.retry !== undefined && itemsKnown(step, path, walk.retry) > 0
        ? Array.from({ length: itemsKnown(step, path, walk.retry) }, () => undefined)
        : null;
  const order = step.limit === 1 ? 'sequence' : 'parallel';
  const turns = (numbers: readonly number[]): PlannedStep[] =>
    sideBySide(step.limit > 1, walk, numbers, (index) => {
      const value = list?.[index];
      const names = value === undefined ? {} : { [step.as]: value };
      return turn(step, `${path}#${index}`, { ...place, frame: inItem(place.frame, names) }, walk);
    });
  const isShort =
    list !== null && list.length <= MAX_ITEMS && list.length * sizeOf(step.steps) <= walk.left;
  const steps = isShort
    ? turns([...list.keys()])
    : [allTurns(step, path, list?.length ?? null, place, walk)];
  return { title: '', order, atOnce: order === 'parallel' ? step.limit : null, steps };
}

function repeatBlock(step: RepeatStep, path: string, place: Place, walk: Walk): PlannedBlock {
  const around: Place = { ...place, flow: { ...place.flow, around: 'repeat' } };
  const count = step.until === undefined ? step.limit : null;
  return sequence('', [allTurns(step, path, count, around, walk)]);
}

/** One item or iteration. */
function turn(step: ForeachStep | RepeatStep, path: string, place: Place, walk: Walk): PlannedStep {
  walk.left -= 1;
  const { ended, retry } = walk;
  const isReused = retry !== undefined && isKept(path, retry);
  const inside: Place = {
    ...place,
    prefix: `${path}/`,
    flow: { ...place.flow, again: new Set(place.flow.again) },
  };
  const will: Will =
    ended !== null ? 'not_reached' : isReused ? 'reused' : place.may ? 'may_run' : 'runs';
  const isOpen = will === 'runs' || will === 'may_run';
  return {
    ...turnTerms(step, path),
    will,
    reason: isReused ? KEPT : null,
    times: 1,
    blocks: isOpen ? [sequence('', previewList(step.steps, inside, walk))] : [],
  };
}

/** All items, or all iterations, told once. */
function allTurns(
  step: ForeachStep | RepeatStep,
  path: string,
  count: number | null,
  place: Place,
  walk: Walk,
): PlannedStep {
  const { ended, retry } = walk;
  const begun = retry === undefined ? 0 : itemsKnown(step, path, retry);
  let reused = 0;
  for (let index = 0; index < begun; index += 1)
    if (retry !== undefined && isKept(`${path}#${index}`, retry)) reused += 1;
  const frame = inItem(place.frame, {});
  const { retry: _retry, until: _until, ...fresh } = walk;
  // What one of many has done says nothing of the others: here they are told as for a new run.
  const inside: Walk = { ...fresh };
  const steps = previewList(step.steps, { ...place, frame, prefix: `${path}#*/` }, inside);
  walk.left = inside.left;
  // The first iteration is certain; of a list that is not known yet there may be no item.
  const isCertain = step.kind === 'repeat' || (count ?? 0) > reused;
  if (isCertain) walk.ended = inside.ended;
  return {
    ...turnTerms(step, `${path}#*`),
    will: ended !== null ? 'not_reached' : place.may ? 'may_run' : 'runs',
    reason: null,
    times: count === null ? null : count - reused,
    ...(reused > 0 ? { reusedItems: reused } : {}),
    blocks: [sequence('', steps)],
  };
}

function turnTerms(
  step: ForeachStep | RepeatStep,
  path: string,
): Omit<PlannedStep, 'will' | 'reason' | 'times' | 'blocks'> {
  return {
    path,
    key: path.slice(path.lastIndexOf('#')),
    uses: step.kind === 'repeat' ? 'iteration' : 'item',
    summary: null,
    condition: null,
    with: {},
    queue: null,
    program: false,
    effect: false,
    gpus: 0,
    limits: {},
  };
}

function inItem(frame: KnownFrame, names: JsonObject): KnownFrame {
  return { ...frame, names: { ...frame.names, ...names }, steps: { ...frame.steps } };
}

/** What begins beside a `stop` begins all the same. */
function sideBySide<T>(
  isBeside: boolean,
  walk: Walk,
  parts: readonly T[],
  preview: (part: T) => PlannedStep,
): PlannedStep[] {
  if (!isBeside) return parts.map(preview);
  const before = walk.ended;
  let first: string | null = null;
  const planned = parts.map((part) => {
    walk.ended = before;
    const one = preview(part);
    first ??= walk.ended;
    return one;
  });
  walk.ended = first ?? before;
  return planned;
}

function parallelBlock(step: ParallelStep, path: string, place: Place, walk: Walk): PlannedBlock {
  const steps = sideBySide(true, walk, [...step.branches.keys()], (index) => {
    const branch = step.branches[index];
    if (branch === undefined) throw new Error(`There is no branch ${index}.`);
    const flow = { ...place.flow, again: new Set(place.flow.again) };
    const needed = branch.needs.map((at) => step.branches[at]?.step);
    for (const id of needed.flatMap((one) => (one?.id === undefined ? [] : [one.id])))
      if (walk.retry !== undefined && !isKept(`${path}/${id}`, walk.retry)) {
        flow.again.add(id);
        flow.dropped = true;
      }
    const [planned] = previewList([branch.step], { ...place, flow }, walk);
    if (planned === undefined) throw new Error(`The branch ${index} has no step.`);
    const needs = needed.map((one) => `${path}/${one?.key ?? ''}`);
    return needs.length === 0 ? planned : { ...planned, needs };
  });
  return { title: '', order: 'parallel', atOnce: step.limit, steps };
}

function tryBlocks(step: TryStep, path: string, place: Place, walk: Walk): PlannedBlock[] {
  const around: Place = { ...place, flow: { ...place.flow, around: 'try' } };
  const blocks = [sequence('', previewList(step.steps, around, walk))];
  const hasEnded = walk.ended;
  // What fails before the place where the run ends is caught all the same.
  const mayFail = everyStep(blocks.flatMap(({ steps }) => steps)).some(
    (one) => isToRun(one) && one.uses !== 'stop',
  );
  for (const [index, clause] of (step.catch ?? []).entries()) {
    const title = `catch ${clause.errors?.join(', ') ?? ''}`.trim();
    const prefix = `${path}${catchInfix(index)}`;
    const frame = inItem(place.frame, {});
    if (mayFail) walk.ended = null;
    const steps = previewList(clause.steps, { ...around, prefix, frame, may: true }, walk);
    walk.ended = hasEnded;
    blocks.push(sequence(title, steps.map(onFailure)));
  }
  if (step.finally.length === 0) return blocks;
  // Whatever happened before it.
  walk.ended = null;
  const steps = previewList(step.finally, { ...around, prefix: `${path}/finally/` }, walk);
  walk.ended = hasEnded ?? walk.ended;
  return [...blocks, sequence('finally', steps)];
}

function onFailure(step: PlannedStep): PlannedStep {
  if (step.will !== 'may_run' || step.reason !== null) return step;
  return {
    ...step,
    reason: { code: 'on_failure', message: 'runs when the steps before it fail so' },
  };
}

function calledBlock(
  { called, with: given }: PipelineStep,
  place: Place,
  walk: Walk,
): PlannedBlock {
  const values: JsonObject = {};
  const unknown: string[] = [];
  const written = new Map(given);
  for (const { name, default: instead } of called.inputs) {
    const template = written.get(name);
    const value = template === undefined ? null : knownTemplate(template, place.frame);
    if (value !== null && !value.known) unknown.push(name);
    else if (value !== null && value.value !== null) values[name] = value.value;
    else if (instead !== undefined) values[name] = instead;
  }
  const { run } = place.frame.roots;
  const frame: KnownFrame = {
    names: {},
    roots: {
      inputs: { values, unknown },
      run: { values: { ...run.values, pipeline: called.pipeline }, unknown: run.unknown },
    },
    steps: {},
  };
  const flow = { ...place.flow, again: new Set<string>() };
  return sequence(called.file, previewList(called.steps, { ...place, frame, flow }, walk));
}
