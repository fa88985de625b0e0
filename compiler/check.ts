/**
 * Names, types and what certainly exists: a Pipeline and the signatures of step types to all Diagnostics, and to the
 * steps of a Plan.
 *
 * Invariants:
 * 1. Sound: an expression that is accepted never reads the output of a step that has not succeeded.
 * 2. One mistake, one message: what is reported has the type `unknown`, which fits everywhere.
 * 3. One walk in document order; facts are added as steps succeed, and merged or dropped where blocks end.
 */
import type { Expr, Template } from '../core/expression.js';
import type { PlanStep } from '../core/plan.js';
import { compileUses } from './check-uses.js';
import type { Diagnostics } from './diagnostic.js';
import { compileExpression, type CompiledExpression } from './expression.js';
import type { InputDeclaration, Pipeline, Step } from './pipeline.js';
import { FileNames, Facts, type IdPlace, type Scope } from './scope.js';
import type { StepSignature } from './step-signature.js';
import { bareSource, compileTemplate } from './template.js';
import {
  ANY,
  BOOL,
  INT,
  isAssignable,
  printType,
  STRING,
  UNKNOWN,
  type Field,
  type Type,
} from './types.js';
import type { ScalarNode } from './yaml.js';

/** What binding needs of a pipeline that has no mistakes. */
export interface CheckedPipeline {
  readonly name: string;
  readonly summary?: string;
  readonly inputs: readonly CheckedInput[];
  /** Place of the `inputs` key. */
  readonly inputsRange: Pipeline['inputsRange'];
  readonly steps: readonly PlanStep[];
  readonly outputs: ReadonlyArray<readonly [string, Template]>;
  readonly outputTypes: ReadonlyArray<readonly [string, Type]>;
}

export type CheckedInput = InputDeclaration;

const RUN: Type = {
  kind: 'record',
  label: 'run',
  fields: new Map<string, Field>([
    ['id', { type: STRING, optional: false, summary: 'Id of the run.' }],
    ['round', { type: STRING, optional: false, summary: 'Id of the first run of the round.' }],
    ['pipeline', { type: STRING, optional: false, summary: 'Name of the pipeline.' }],
  ]),
};

/** Items of a foreach that failed, under `fail: wait`. */
const FAILURES: Type = {
  kind: 'list',
  of: {
    kind: 'record',
    label: 'failure',
    fields: new Map<string, Field>([
      ['index', { type: INT, optional: false, summary: 'Place in the list, from 0.' }],
      ['code', { type: STRING, optional: false, summary: 'Error code.' }],
      ['message', { type: STRING, optional: false, summary: 'What happened.' }],
    ]),
  },
};

export function checkPipeline(
  pipeline: Pipeline,
  signatures: readonly StepSignature[],
  diagnostics: Diagnostics,
): CheckedPipeline {
  const checker = new Checker(signatures, diagnostics);
  const file = collectNames(pipeline.steps, diagnostics);
  const scope: Scope = {
    inputs: pipeline.inputsBroken ? UNKNOWN : inputsType(pipeline.inputs),
    run: RUN,
    names: new Map(),
    visible: new Map(),
    facts: new Facts(),
    file,
  };
  checker.defaults(pipeline.inputs, scope);
  const { steps } = checker.block(pipeline.steps, scope);
  const outputs = pipeline.outputs.map(({ key, value }) => {
    const { template, type } = compileTemplate(value, ANY, { name: key, scope, diagnostics });
    return { key, template, type };
  });
  file.report(diagnostics);
  return {
    name: pipeline.name.value,
    ...(pipeline.summary === undefined ? {} : { summary: pipeline.summary }),
    inputs: pipeline.inputs,
    inputsRange: pipeline.inputsRange,
    steps,
    outputs: outputs.map(({ key, template }) => [key, template]),
    outputTypes: outputs.map(({ key, type }) => [key, type]),
  };
}

function inputsType(inputs: readonly InputDeclaration[]): Type {
  const fields = new Map<string, Field>(
    inputs.map((input) => [
      input.name,
      {
        type: input.type,
        optional: !input.required && input.default === undefined,
        summary: input.summary,
      },
    ]),
  );
  return { kind: 'record', label: 'inputs', fields };
}

/** A server takes no activity id beyond 1,000 characters, and a run that asks for one hangs. */
const MAX_PATH_LENGTH = 800;

function collectNames(steps: readonly Step[], diagnostics: Diagnostics): FileNames {
  const ids = new Map<string, IdPlace>();
  const broken = new Set<string>();
  const visit = (list: readonly Step[], foreach: readonly string[], prefix: number): void => {
    for (const step of list) {
      const length = prefix + step.key.length;
      const isLong = length > MAX_PATH_LENGTH;
      // Told where it is passed; the steps inside are too long for the same reason.
      if (isLong) {
        diagnostics.add(
          'ID_INVALID',
          step.range,
          `the path of this step is longer than ${MAX_PATH_LENGTH} characters`,
          'use shorter ids, or fewer blocks inside of blocks',
        );
      }
      if (step.kind === 'broken') step.ids.forEach((id) => broken.add(id));
      else if (step.id !== undefined) {
        const { value, range } = step.id;
        const first = ids.get(value);
        if (first === undefined) {
          ids.set(value, {
            range,
            foreach,
            hasOutputs: step.kind === 'step' || step.kind === 'foreach',
          });
        } else {
          const line = diagnostics.source.text.slice(0, first.range.start).split('\n').length;
          diagnostics.add(
            'ID_DUPLICATE',
            range,
            `the id \`${value}\` is already used on line ${line}`,
            'ids are unique in a file',
          );
        }
      }
      // Between come `#` and the number of an item, `finally`, `then` or `else`, and slashes.
      const inside = isLong ? Number.NEGATIVE_INFINITY : length + 9;
      if (step.kind === 'foreach') visit(step.steps, [...foreach, step.key], inside);
      if (step.kind === 'try') visit([...step.steps, ...step.finally], foreach, inside);
      if (step.kind === 'if') visit([...step.then, ...step.else], foreach, inside);
    }
  };
  visit(steps, [], 0);
  return new FileNames(ids, broken);
}

interface Block {
  readonly steps: PlanStep[];
  /** It always ends in a `stop`: nothing comes after it. */
  readonly stops: boolean;
}

const NEVER: Expr = { op: 'lit', value: false };

class Checker {
  readonly #signatures: ReadonlyMap<string, StepSignature>;
  readonly #diagnostics: Diagnostics;

  constructor(signatures: readonly StepSignature[], diagnostics: Diagnostics) {
    this.#signatures = new Map(signatures.map((signature) => [signature.name, signature]));
    this.#diagnostics = diagnostics;
  }

  /** Defaults are literals of the input's type. */
  defaults(inputs: readonly InputDeclaration[], scope: Scope): void {
    for (const { name, type, default: node } of inputs) {
      if (node === undefined) continue;
      const before = this.#diagnostics.size;
      const { literal } = compileTemplate(node, type, {
        name,
        scope,
        diagnostics: this.#diagnostics,
      });
      if (!literal && this.#diagnostics.size === before) {
        this.#diagnostics.add(
          'INPUT_DEFAULT',
          node.range,
          `the default of \`${name}\` is not a plain value`,
          'expressions belong into `steps`',
        );
      }
    }
  }

  block(steps: readonly Step[], scope: Scope): Block {
    const planned: PlanStep[] = [];
    let stops = false;
    for (const step of steps) {
      const { plan, stops: stopped } = this.#step(step, scope);
      if (plan !== null) planned.push(plan);
      stops ||= stopped;
    }
    return { steps: planned, stops };
  }

  #step(step: Step, scope: Scope): { plan: PlanStep | null; stops: boolean } {
    if (step.kind === 'broken') return { plan: null, stops: false };
    const base = { key: step.key, ...(step.id === undefined ? {} : { id: step.id.value }) };
    if (step.kind === 'if') return this.#ifBlock(step, base, scope);

    const test = step.if === undefined ? null : this.#condition(step.if, scope);
    const guarded = test === null ? base : { ...base, if: test.expr ?? NEVER };
    const inner =
      test === null ? scope : { ...scope, facts: new Facts(scope.facts).add(test.whenTrue) };
    const doubt = 'its `if` can skip it';
    switch (step.kind) {
      case 'step': {
        const { plan, outputs } = compileUses(step, this.#signatures, inner, this.#diagnostics);
        this.#succeed(step, outputs, scope, test === null ? null : doubt);
        return { plan: { ...guarded, ...plan }, stops: false };
      }
      case 'foreach': {
        const { plan, outputs } = this.#foreach(step, inner);
        this.#succeed(step, outputs, scope, test === null ? null : doubt);
        return { plan: { ...guarded, ...plan }, stops: false };
      }
      case 'try': {
        const before = new Set(scope.visible.keys());
        const tried = new Facts(inner.facts);
        const body = this.block(step.steps, { ...inner, facts: tried });
        const ids = [...scope.visible.keys()].filter((id) => !before.has(id));
        this.#doubt(ids, scope, 'a step before it in `try` can fail');
        const last = new Facts(inner.facts);
        const final = this.block(step.finally, { ...inner, facts: last });
        if (test === null) scope.facts.add(tried.own).add(last.own);
        else
          this.#doubt(
            [...scope.visible.keys()].filter((id) => !before.has(id)),
            scope,
            'the `if` of its `try` can skip it',
          );
        return {
          plan: { ...guarded, kind: 'try', steps: body.steps, finally: final.steps },
          stops: test === null && (body.stops || final.stops),
        };
      }
      case 'stop': {
        const { template } = compileTemplate(step.reason, STRING, {
          name: 'reason',
          scope: inner,
          diagnostics: this.#diagnostics,
        });
        if (test !== null) scope.facts.add(test.whenFalse);
        return { plan: { ...guarded, kind: 'stop', reason: template }, stops: test === null };
      }
    }
  }

  #ifBlock(
    step: Step & { kind: 'if' },
    base: { readonly key: string; readonly id?: string },
    scope: Scope,
  ): { plan: PlanStep; stops: boolean } {
    const test = this.#condition(step.test, scope);
    const before = new Set(scope.visible.keys());
    const thenFacts = new Facts(scope.facts).add(test.whenTrue);
    const then = this.block(step.then, { ...scope, facts: thenFacts });
    const inThen = [...scope.visible.keys()].filter((id) => !before.has(id));
    this.#doubt(inThen, scope, 'it runs only in `then`');
    const elseFacts = new Facts(scope.facts).add(test.whenFalse);
    const otherwise = this.block(step.else, { ...scope, facts: elseFacts });
    const inElse = [...scope.visible.keys()].filter(
      (id) => !before.has(id) && !inThen.includes(id),
    );
    this.#doubt(inElse, scope, 'it runs only in `else`');
    if (then.stops) scope.facts.add(elseFacts.own);
    else if (otherwise.stops) scope.facts.add(thenFacts.own);
    else scope.facts.add([...thenFacts.own].filter((path) => elseFacts.own.has(path)));
    return {
      plan: {
        ...base,
        kind: 'if',
        test: test.expr ?? NEVER,
        then: then.steps,
        else: otherwise.steps,
      },
      stops: then.stops && otherwise.stops,
    };
  }

  #foreach(
    step: Step & { kind: 'foreach' },
    scope: Scope,
  ): { plan: PlanStep & { kind: 'foreach' }; outputs: Type } {
    const name = step.as;
    const items = this.#bare(step.items, scope);
    const item = this.#itemType(items.type, step.items);
    if (scope.names.has(name.value)) {
      this.#diagnostics.add(
        'ID_DUPLICATE',
        name.range,
        `\`${name.value}\` is already the item of an outer \`foreach\``,
        'choose another name',
      );
    }
    const before = new Set(scope.visible.keys());
    const inside: Scope = {
      ...scope,
      names: new Map(scope.names).set(name.value, item),
      facts: new Facts(scope.facts),
    };
    const body = this.block(step.steps, inside);
    const collect = step.collect === undefined ? null : this.#bare(step.collect, inside);
    // Outside, a step of the body has no one output.
    for (const id of scope.visible.keys()) if (!before.has(id)) scope.visible.delete(id);
    const fields = new Map<string, Field>();
    if (collect !== null) {
      fields.set('results', {
        type: { kind: 'list', of: collect.type },
        optional: false,
        summary: '',
      });
    }
    fields.set('failures', { type: FAILURES, optional: false, summary: '' });
    return {
      plan: {
        key: step.key,
        kind: 'foreach',
        items: items.expr ?? NEVER,
        as: name.value,
        limit: step.limit,
        fail: step.fail,
        ...(collect === null ? {} : { collect: collect.expr ?? NEVER }),
        steps: body.steps,
      },
      outputs: { kind: 'record', label: `steps.${step.key.replaceAll(/\W/g, '_')}`, fields },
    };
  }

  #itemType(type: Type, node: ScalarNode): Type {
    if (type.kind === 'list') return type.of;
    if (type.kind === 'any') return ANY;
    if (type.kind !== 'unknown') {
      const range = bareSource(node, this.#diagnostics).toRange(0, String(node.value).length);
      this.#diagnostics.add(
        'EXPRESSION_TYPE',
        range,
        `\`foreach\` runs over a list, and this is ${printType(type)}`,
      );
    }
    return UNKNOWN;
  }

  #condition(node: ScalarNode, scope: Scope): CompiledExpression {
    const compiled = this.#bare(node, scope);
    if (!isAssignable(compiled.type, BOOL)) {
      const range = bareSource(node, this.#diagnostics).toRange(0, String(node.value).length);
      this.#diagnostics.add(
        'EXPRESSION_TYPE',
        range,
        `a condition is true or false, and this is ${printType(compiled.type)}`,
        'compare it with something',
      );
    }
    return compiled;
  }

  #bare(node: ScalarNode, scope: Scope): CompiledExpression {
    return compileExpression(bareSource(node, this.#diagnostics), scope, this.#diagnostics);
  }

  #succeed(step: Step, outputs: Type, scope: Scope, doubt: string | null): void {
    if (step.id === undefined) return;
    const id = step.id.value;
    scope.visible.set(id, outputs);
    if (doubt === null) scope.facts.add([`steps.${id}`]);
    else this.#doubt([id], scope, doubt);
  }

  /** The innermost reason is the one to tell. */
  #doubt(ids: readonly string[], scope: Scope, reason: string): void {
    for (const id of ids) if (!scope.file.doubts.has(id)) scope.file.doubts.set(id, reason);
  }
}
