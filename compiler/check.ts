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
import { checkLength, compileApprove } from './check-approve.js';
import { caughtError, foreachOutputs, repeatOutputs, RUN } from './block-types.js';
import { checkReachable, warnOfIdle, type Taken } from './check-catch.js';
import { checkClaims } from './check-claims.js';
import { checkParallel, type BlockPlan } from './check-parallel.js';
import { workOf } from './called-work.js';
import { compileCall, type CalledFile } from './check-call.js';
import { compileUses } from './check-uses.js';
import { checkVerdicts } from './check-verdict.js';
import { collectNames } from './collect-names.js';
import { certainlyHolds, warnOfConstant } from './constant-condition.js';
import { impliedBy, isAboutCondition, knownFrom } from './conditions.js';
import type { Diagnostics } from './diagnostic.js';
import { compileExpression, type CompiledExpression } from './expression.js';
import { Facts } from './facts.js';
import { FINALLY_TIMEOUT_MS } from './parse-finally-timeout.js';
import { withDefaults } from './parse-options.js';
import type { CallStep, Defaults, InputDeclaration, Located, Pipeline, Step } from './pipeline.js';
import { PlanTree } from './plan-tree.js';
import { Visible, type FileNames, type Scope } from './scope.js';
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
  /** Outputs of the steps that run at most once, by id. */
  readonly stepOutputs: ReadonlyMap<string, Type>;
  readonly terms: Pipeline['terms'];
}

export type CheckedInput = InputDeclaration;

export function checkPipeline(
  pipeline: Pipeline,
  signatures: readonly StepSignature[],
  diagnostics: Diagnostics,
  openCalled: (step: CallStep) => CalledFile | null,
): CheckedPipeline {
  const opened = new Map<CallStep, CalledFile | null>();
  const file = collectNames(pipeline, diagnostics, (step) => {
    const called = openCalled(step);
    opened.set(step, called);
    return called?.longestPath ?? 0;
  });
  const checker = new Checker(signatures, pipeline.defaults, diagnostics, opened);
  const scope: Scope = {
    inputs: pipeline.inputsBroken ? UNKNOWN : inputsType(pipeline.inputs),
    run: RUN,
    names: new Map(),
    visible: new Visible(),
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
  warnOfUnused(pipeline.inputs, file, diagnostics);
  checker.submissions(steps);
  return {
    name: pipeline.name.value,
    ...(pipeline.summary === undefined ? {} : { summary: pipeline.summary }),
    inputs: pipeline.inputs,
    inputsRange: pipeline.inputsRange,
    steps,
    outputs: outputs.map(({ key, template }) => [key, template]),
    outputTypes: outputs.map(({ key, type }) => [key, type]),
    stepOutputs: scope.visible.own,
    terms: pipeline.terms,
  };
}

function warnOfUnused(
  inputs: readonly InputDeclaration[],
  { inputsRead }: FileNames,
  diagnostics: Diagnostics,
): void {
  for (const { name, nameRange } of inputs) {
    if (inputsRead.has(name)) continue;
    diagnostics.warn(
      'INPUT_UNUSED',
      nameRange,
      `nothing reads the input \`${name}\``,
      `remove it, or read it as \`inputs.${name}\``,
    );
  }
}

/** `inputs` in every expression. */
export function inputsType(inputs: readonly InputDeclaration[]): Type {
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

interface Block {
  readonly steps: PlanStep[];
  /** It always ends in a `stop`: nothing comes after it. */
  readonly stops: boolean;
}

/** Facts that hold where a condition is true, or false. */
function holding({ expr, whenTrue, whenFalse }: CompiledExpression, truth: boolean): string[] {
  return [...(truth ? whenTrue : whenFalse), ...knownFrom(expr, truth)];
}

/** What a value that is no condition is most likely compared with. */
function comparisonHint(type: Type): string {
  const { kind } = type;
  if (kind === 'one_of')
    return `compare it with one of its values, such as \`== '${type.values[0] ?? ''}'\``;
  if (kind === 'string') return "compare it with something, such as `!= ''`";
  if (kind === 'int' || kind === 'number') return 'compare it with something, such as `> 0`';
  return kind === 'list' || kind === 'map'
    ? 'ask for its size, such as `size(…) > 0`'
    : 'compare it with something';
}

const NEVER: Expr = { op: 'lit', value: false };

class Checker {
  /** The steps as written, by the steps as planned. */
  readonly #sources = new Map<PlanStep, Step>();
  /** A step type with a part in submissions is used. */
  #submits = false;
  /** A mistake hides what a step or a condition is. */
  #hidden: boolean;
  readonly #signatures: ReadonlyMap<string, StepSignature>;
  readonly #defaults: Defaults;
  readonly #diagnostics: Diagnostics;
  readonly #called: ReadonlyMap<CallStep, CalledFile | null>;

  constructor(
    signatures: readonly StepSignature[],
    defaults: Defaults,
    diagnostics: Diagnostics,
    called: ReadonlyMap<CallStep, CalledFile | null>,
  ) {
    this.#called = called;
    this.#defaults = defaults;
    this.#signatures = new Map(signatures.map((signature) => [signature.name, signature]));
    this.#diagnostics = diagnostics;
    this.#hidden = diagnostics.size > 0;
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

  /** Rules about claims and submissions; without what a mistake hides they would tell of mistakes that are none. */
  submissions(steps: readonly PlanStep[]): void {
    if (!this.#submits || this.#hidden) return;
    const tree = new PlanTree(steps, this.#sources, this.#signatures);
    checkVerdicts(tree, this.#signatures, this.#diagnostics);
    checkClaims(tree, this.#diagnostics);
  }

  block(steps: readonly Step[], scope: Scope): Block {
    const planned: PlanStep[] = [];
    let stops = false;
    let told = false;
    for (const step of steps) {
      if (stops && !told && step.kind !== 'broken') {
        told = true;
        this.#diagnostics.add(
          'STEP_UNREACHABLE',
          step.range,
          'this step never runs: the run always stops before it',
          'remove it, or give the `stop` a condition',
        );
      }
      const { plan, stops: stopped } = this.#step(step, scope);
      if (plan !== null) planned.push(plan);
      stops ||= stopped;
    }
    return { steps: planned, stops };
  }

  #step(step: Step, scope: Scope): { plan: PlanStep | null; stops: boolean } {
    const checked = this.#unplaced(step, scope);
    if (checked.plan !== null) this.#sources.set(checked.plan, step);
    return checked;
  }

  #unplaced(step: Step, scope: Scope): { plan: PlanStep | null; stops: boolean } {
    if (step.kind === 'broken') return { plan: null, stops: false };
    const base = { key: step.key, ...(step.id === undefined ? {} : { id: step.id.value }) };
    if (step.kind === 'if') return this.#ifBlock(step, base, scope);

    const own = step.id === undefined ? scope : { ...scope, self: step.id.value };
    const asked = step.if === undefined ? null : this.#condition(step.if, own);
    const guarded = asked === null ? base : { ...base, if: asked.expr ?? NEVER };
    const test = asked === null || certainlyHolds(asked.expr, scope) ? null : asked;
    const inner = test === null ? scope : { ...scope, facts: this.#where(test, true, scope) };
    switch (step.kind) {
      case 'step': {
        const written = { ...step, options: withDefaults(step.options, this.#defaults) };
        const before = this.#diagnostics.size;
        const { plan, outputs } = compileUses(
          written,
          this.#signatures,
          { ...inner, ...(step.id === undefined ? {} : { self: step.id.value }) },
          this.#diagnostics,
        );
        const signature = this.#signatures.get(plan.uses);
        this.#submits ||= signature?.submission !== undefined;
        // A name that does not exist is told at the end, and stands for nothing until then.
        const isHidden = plan.with.some(([, value]) => value.t === 'value' && value.value === null);
        this.#hidden ||= signature === undefined || this.#diagnostics.size > before || isHidden;
        this.#succeed(step, outputs, { scope, inner, test });
        return { plan: { ...guarded, ...plan }, stops: false };
      }
      case 'pipeline': {
        const called = this.#called.get(step) ?? null;
        const { plan, outputs } = compileCall(step, called, inner, this.#diagnostics);
        this.#submits ||= workOf(plan.called, this.#signatures).submits;
        this.#succeed(step, outputs, { scope, inner, test });
        return { plan: { ...guarded, ...plan }, stops: false };
      }
      case 'foreach': {
        const { plan, outputs } = this.#foreach(step, inner);
        this.#succeed(step, outputs, { scope, inner, test });
        return { plan: { ...guarded, ...plan }, stops: false };
      }
      case 'repeat': {
        const { plan, outputs } = this.#repeat(step, inner);
        this.#succeed(step, outputs, { scope, inner, test });
        return { plan: { ...guarded, ...plan }, stops: false };
      }
      case 'parallel':
      case 'try': {
        const visible = new Visible(scope.visible);
        const inBlock = { ...inner, visible };
        const { plan, stops, certain } =
          step.kind === 'try'
            ? this.#try(step, inBlock)
            : checkParallel(step, inBlock, this.#diagnostics, (one, at) => this.#step(one, at));
        this.#merge(visible, scope, null);
        if (test === null) scope.facts.add(certain);
        else {
          scope.facts.add(impliedBy(test.expr, true, certain));
          this.#doubt(visible.own.keys(), scope, `the \`if\` of its \`${step.kind}\` can skip it`);
        }
        return { plan: { ...guarded, ...plan }, stops: test === null && stops };
      }
      case 'approve': {
        this.defaults(step.fields, inner);
        const { plan, outputs } = compileApprove(step, inner, this.#diagnostics);
        this.#succeed(step, outputs, { scope, inner, test });
        return { plan: { ...guarded, ...plan }, stops: false };
      }
      case 'wait': {
        const type: Type = { kind: step.what === 'for' ? 'duration' : 'timestamp' };
        const { template } = compileTemplate(step.value, type, {
          name: step.what === 'for' ? 'wait' : 'until',
          scope: inner,
          diagnostics: this.#diagnostics,
        });
        if (step.what === 'for') checkLength(template, step.value, '`wait`', this.#diagnostics);
        return { plan: { ...guarded, kind: 'wait', [step.what]: template }, stops: false };
      }
      case 'stop': {
        const { template } = compileTemplate(step.reason, STRING, {
          name: 'reason',
          scope: inner,
          diagnostics: this.#diagnostics,
        });
        if (test !== null) scope.facts.suppose(holding(test, false), scope.file.moments);
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
    const inThen = new Visible(scope.visible);
    const thenFacts = this.#where(test, true, scope);
    const then = this.block(step.then, { ...scope, visible: inThen, facts: thenFacts });
    this.#merge(inThen, scope, 'it runs only in `then`');
    const inElse = new Visible(scope.visible);
    const elseFacts = this.#where(test, false, scope);
    const otherwise = this.block(step.else, { ...scope, visible: inElse, facts: elseFacts });
    this.#merge(inElse, scope, 'it runs only in `else`');
    const always = certainlyHolds(test.expr, scope);
    if (always || otherwise.stops) scope.facts.absorb(thenFacts);
    else if (then.stops) scope.facts.absorb(elseFacts);
    else {
      scope.facts
        .add([...thenFacts.own].filter((fact) => elseFacts.own.has(fact)))
        .add(impliedBy(test.expr, true, thenFacts.own))
        .add(impliedBy(test.expr, false, elseFacts.own));
    }
    return {
      plan: {
        ...base,
        kind: 'if',
        test: test.expr ?? NEVER,
        then: then.steps,
        else: otherwise.steps,
      },
      stops: then.stops && (always || otherwise.stops),
    };
  }

  #try(step: Step & { kind: 'try' }, scope: Scope): BlockPlan {
    const inTry = new Visible(scope.visible);
    const tried = new Facts(scope.facts);
    const body = this.block(step.steps, { ...scope, visible: inTry, facts: tried });
    this.#merge(inTry, scope, 'it can fail, or a step before it in `try`');
    const ways = body.stops ? [] : [tried];
    const taken: Taken = { codes: new Set(), all: 'open' };
    const clauses = step.catch.map((clause) => {
      checkReachable(clause, taken, this.#diagnostics);
      warnOfIdle(clause, body.steps, this.#signatures, this.#diagnostics);
      this.#checkFree(clause.as, scope);
      const visible = new Visible(scope.visible);
      const caught = new Facts(scope.facts);
      const names = new Map(scope.names).set(
        clause.as.value,
        caughtError(clause.errors?.map(({ value }) => value)),
      );
      const { steps, stops } = this.block(clause.steps, {
        ...scope,
        names,
        visible,
        facts: caught,
      });
      this.#merge(visible, scope, 'it runs only in `catch`');
      // What is known of the error, or by it, holds in this clause: behind it the name can mean another one.
      const paths = [...caught.own].filter(
        (fact) => /^(?:steps|inputs)\./.test(fact) || isAboutCondition(fact, clause.as.value),
      );
      if (!stops) ways.push(new Facts().add(paths));
      const errors = clause.errors?.map(({ value }) => value);
      return { ...(errors === undefined ? {} : { errors }), as: clause.as.value, steps };
    });
    const last = new Facts(scope.facts);
    const final = this.block(step.finally, { ...scope, facts: last });
    const [first, ...others] = ways;
    const certain = [...(first?.own ?? [])].filter((fact) =>
      others.every(({ own }) => own.has(fact)),
    );
    return {
      plan: {
        key: step.key,
        kind: 'try',
        steps: body.steps,
        ...(clauses.length === 0 ? {} : { catch: clauses }),
        finally: final.steps,
        ...(final.steps.length === 0 ? {} : { finallyTimeoutMs: this.#finallyTimeoutMs(step) }),
      },
      stops: ways.length === 0 || final.stops,
      certain: [...certain, ...last.own],
    };
  }

  #finallyTimeoutMs({ finallyTimeoutMs }: Step & { kind: 'try' }): number {
    return finallyTimeoutMs ?? this.#defaults.finallyTimeoutMs ?? FINALLY_TIMEOUT_MS;
  }

  #foreach(
    step: Step & { kind: 'foreach' },
    scope: Scope,
  ): { plan: PlanStep & { kind: 'foreach' }; outputs: Type } {
    const items = this.#bare(step.items, scope);
    const item = this.#itemType(items.type, step.items);
    const { steps, collect } = this.#turns(step, scope, new Map([[step.as.value, item]]));
    return {
      plan: {
        key: step.key,
        kind: 'foreach',
        items: items.expr ?? NEVER,
        as: step.as.value,
        limit: step.limit,
        fail: step.fail,
        ...(collect === null ? {} : { collect: collect.expr ?? NEVER }),
        steps,
      },
      outputs: foreachOutputs(step.key, collect?.type ?? null),
    };
  }

  #repeat(
    step: Step & { kind: 'repeat' },
    scope: Scope,
  ): { plan: PlanStep & { kind: 'repeat' }; outputs: Type } {
    const { as, limit, everyMs } = step;
    const names = new Map<string, Type>(as === undefined ? [] : [[as.value, INT]]);
    const { steps, collect, until } = this.#turns(step, scope, names);
    return {
      plan: {
        key: step.key,
        kind: 'repeat',
        limit,
        ...(everyMs === undefined ? {} : { everyMs }),
        ...(until === null ? {} : { until: until.expr ?? NEVER }),
        ...(as === undefined ? {} : { as: as.value }),
        ...(collect === null ? {} : { collect: collect.expr ?? NEVER }),
        steps,
      },
      outputs: repeatOutputs(step.key, collect?.type ?? null),
    };
  }

  /** Within one name there is one value: what is known of it would else be taken for another. */
  #checkFree({ value, range }: Located<string>, scope: Scope): void {
    if (!scope.names.has(value)) return;
    this.#diagnostics.add(
      'ID_DUPLICATE',
      range,
      `\`${value}\` already names a value of a block around this one`,
      'choose another name with `as`',
    );
  }

  /** The steps of a block that runs them many times, and what is asked at the end of each time. */
  #turns(
    step: Step & { kind: 'foreach' | 'repeat' },
    scope: Scope,
    names: ReadonlyMap<string, Type>,
  ): {
    steps: PlanStep[];
    collect: CompiledExpression | null;
    until: CompiledExpression | null;
  } {
    if (step.as !== undefined) this.#checkFree(step.as, scope);
    // Outside, a step of the block has no one output: nothing of it is merged.
    const inside: Scope = {
      ...scope,
      names: new Map([...scope.names, ...names]),
      blocks: new Set(scope.blocks).add(step.range.start),
      visible: new Visible(scope.visible),
      facts: new Facts(scope.facts),
    };
    const { steps } = this.block(step.steps, inside);
    const collect = step.collect === undefined ? null : this.#bare(step.collect, inside);
    const until =
      step.kind === 'repeat' && step.until !== undefined
        ? this.#condition(step.until, inside)
        : null;
    return { steps, collect, until };
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
        type.kind === 'int'
          ? 'to do something so many times use `repeat`'
          : type.kind === 'string'
            ? 'declare it as `list<string>` where it comes from'
            : type.kind === 'map'
              ? 'a map has no order; give a list'
              : '',
      );
    }
    return UNKNOWN;
  }

  #condition(node: ScalarNode, scope: Scope): CompiledExpression {
    const compiled = this.#bare(node, scope);
    this.#hidden ||= compiled.expr === null;
    warnOfConstant(compiled.expr, bareSource(node, this.#diagnostics), scope, this.#diagnostics);
    if (!isAssignable(compiled.type, BOOL)) {
      const range = bareSource(node, this.#diagnostics).toRange(0, String(node.value).length);
      this.#diagnostics.add(
        'EXPRESSION_TYPE',
        range,
        `a condition is true or false, and this is ${printType(compiled.type)}`,
        comparisonHint(compiled.type),
      );
    }
    return compiled;
  }

  #bare(node: ScalarNode, scope: Scope): CompiledExpression {
    return compileExpression(bareSource(node, this.#diagnostics), scope, this.#diagnostics);
  }

  /** What is certain inside of what runs only where the condition is true, or false. */
  #where(test: CompiledExpression, truth: boolean, { facts, file }: Scope): Facts {
    return new Facts(facts).suppose(holding(test, truth), file.moments);
  }

  /** `test` is the condition without which it is skipped; null without one. `inner` is what it sees. */
  #succeed(
    step: Step,
    outputs: Type,
    {
      scope,
      inner,
      test,
    }: {
      readonly scope: Scope;
      readonly inner: Scope;
      readonly test: CompiledExpression | null;
    },
  ): void {
    if (step.id === undefined) return;
    const id = step.id.value;
    scope.visible.add(id, outputs);
    scope.file.moments.set(id, inner.facts.now());
    if (test === null) scope.facts.add([`steps.${id}`]);
    else {
      scope.facts.add(impliedBy(test.expr, true, [`steps.${id}`]));
      this.#doubt([id], scope, 'its `if` can skip it');
    }
  }

  /** What a block made visible is so behind it; why it may not have run there is null when it certainly has. */
  #merge({ own }: Visible, scope: Scope, reason: string | null): void {
    for (const [id, outputs] of own) scope.visible.add(id, outputs);
    if (reason !== null) this.#doubt(own.keys(), scope, reason);
  }

  /** The innermost reason is the one to tell. */
  #doubt(ids: Iterable<string>, scope: Scope, reason: string): void {
    for (const id of ids) if (!scope.file.doubts.has(id)) scope.file.doubts.set(id, reason);
  }
}
