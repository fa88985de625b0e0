import type { ASTNode } from '@marcbachmann/cel-js';
import type { Expr } from '../core/expression.js';
import { findIdleWords } from './comparison.js';
import { knownFrom } from './conditions.js';
import type { DiagnosticCode, Diagnostics, Range } from './diagnostic.js';
import { FUNCTIONS, LEFT_OUT, MACROS, METHODS } from './expression-functions.js';
import { both, choice, either, facingOf, NOTHING, OPEN, turned, type Facing } from './facing.js';
import { Facts, notNull } from './facts.js';
import { lower } from './lower.js';
import { markOf, pathOf, writtenPath, type Locals } from './path.js';
import {
  functionHint,
  noMembersHint,
  unknownMemberHint,
  unknownNameHint,
} from './reference-hints.js';
import { branchBeside, type Scope } from './scope.js';
import { ANY, BOOL, fieldsOf, joinTypes, printType, wordsType, type Type } from './types.js';

/** An expression in its file: its text, and where each piece of the text stands. */
export interface ExpressionSource {
  readonly text: string;
  readonly toRange: (start: number, end: number) => Range;
}

/** Resolves the names and members of one expression, and tells which of them are wrong or may not be there. */
export class References {
  /** What it reads by name, without what macros bind: the outermost node of each path, with its exact type. */
  readonly values = new Map<ASTNode, Type>();
  /** `null` as a branch of `?:`. */
  readonly nulls: ASTNode[] = [];
  /** It reads something that is already reported. */
  sawUnknown = false;
  /** It is compared with `null`, as other languages ask whether it is there. */
  #againstNull: ASTNode | null = null;
  /** So many macros so far. */
  #macros = 0;

  readonly #source: ExpressionSource;
  readonly #scope: Scope;
  readonly #diagnostics: Diagnostics;
  readonly #types = new Map<ASTNode, Type | null>();
  readonly #facings = new Map<ASTNode, Facing>();

  constructor(source: ExpressionSource, scope: Scope, diagnostics: Diagnostics) {
    this.#source = source;
    this.#scope = scope;
    this.#diagnostics = diagnostics;
  }

  resolve(ast: ASTNode): Facing {
    return this.#visit(ast, this.#scope.facts, new Map());
  }

  /** The exact type of a node; null when only the library can tell. */
  typeOf(node: ASTNode): Type | null {
    return this.#types.get(node) ?? null;
  }

  #report(
    code: DiagnosticCode,
    at: { start: number; end: number },
    message: string,
    hint: string,
  ): void {
    this.#diagnostics.add(code, this.#source.toRange(at.start, at.end), message, hint);
  }

  #visit(node: ASTNode, facts: Facts, locals: Locals): Facing {
    const facing = this.#look(node, facts, locals);
    if (facing !== OPEN) this.#facings.set(node, facing);
    return facing;
  }

  #look(node: ASTNode, facts: Facts, locals: Locals): Facing {
    switch (node.op) {
      case 'value':
        if (typeof node.args === 'string') this.#types.set(node, wordsType([node.args]));
        return typeof node.args === 'boolean' ? facingOf(node.args) : OPEN;
      case 'id': {
        const type = this.#certain(node, this.#name(node, node.args, locals), facts, locals);
        this.#types.set(node, type);
        if (type !== null && !locals.has(node.args)) this.values.set(node, type);
        return OPEN;
      }
      case '.': {
        const type = this.#certain(node, this.#member(node, facts, locals), facts, locals);
        this.#types.set(node, type);
        const isStep = this.#isStep(node.args[0], locals);
        const isValue = this.values.delete(node.args[0]) || isStep;
        if (type !== null && isValue) this.values.set(node, type);
        return OPEN;
      }
      case '[]': {
        const [of, by] = node.args;
        this.#visit(of, facts, locals);
        this.#visit(by, facts, locals);
        const type = this.typeOf(of);
        if (type?.kind === 'list' || type?.kind === 'map') this.#types.set(node, type.of);
        else if (type?.kind === 'any') this.#types.set(node, ANY);
        return OPEN;
      }
      case '!_':
        return turned(this.#visit(node.args, facts, locals));
      case '&&':
      case '||': {
        const [first, second] = node.args;
        const left = this.#visit(first, facts, locals);
        const isAnd = node.op === '&&';
        const right = this.#visit(second, this.#where(first, left, isAnd, facts, locals), locals);
        return isAnd ? both(left, right) : either(left, right);
      }
      case '?:': {
        const [test, then, otherwise] = node.args;
        const asked = this.#visit(test, facts, locals);
        const chosen = this.#visit(then, this.#where(test, asked, true, facts, locals), locals);
        const other = this.#visit(
          otherwise,
          this.#where(test, asked, false, facts, locals),
          locals,
        );
        this.#types.set(node, this.#ternaryType(then, otherwise));
        return choice(asked, chosen, other);
      }
      case '==':
      case '!=':
      case 'in':
        return this.#comparison(node, facts, locals);
      case 'call':
        return this.#call(node, node.args[0], node.args[1], facts, locals);
      case 'rcall':
        this.#method(node, node.args, facts, locals);
        return OPEN;
      case 'list':
        for (const item of node.args) this.#visit(item, facts, locals);
        this.#types.set(node, this.#listType(node.args));
        return OPEN;
      case 'map':
        for (const entry of node.args) for (const part of entry) this.#visit(part, facts, locals);
        return OPEN;
      case '-_':
        this.#visit(node.args, facts, locals);
        return OPEN;
      case '.?':
      case '[?]':
        return OPEN;
      default:
        for (const operand of node.args) this.#visit(operand, facts, locals);
        return OPEN;
    }
  }

  /** What is certain in the part of an expression that is looked at only where `test` is true, or false. */
  #where(test: ASTNode, facing: Facing, truth: boolean, facts: Facts, locals: Locals): Facts {
    const known = truth ? facing.whenTrue : facing.whenFalse;
    return new Facts(facts).suppose(known ?? [], this.#scope.file.moments).assume(
      () => this.#conditionsOf(test, truth, locals),
      () => this.#casesOf(test, truth, facts, locals),
    );
  }

  /** What is certain in each of the ways in which `test` can be true, or false; those of its parts are groups. */
  #casesOf(test: ASTNode, truth: boolean, facts: Facts, locals: Locals): Facts[][] {
    const where = (node: ASTNode, outer: Facts, is: boolean): Facts[] => {
      const facing = this.#facings.get(node) ?? OPEN;
      const known = is ? facing.whenTrue : facing.whenFalse;
      return known === null ? [] : [this.#where(node, facing, is, outer, locals)];
    };
    switch (test.op) {
      case '!_':
        return this.#casesOf(test.args, !truth, facts, locals);
      case '&&':
      case '||': {
        const [left, right] = test.args;
        return (test.op === '&&') === truth
          ? [left, right].flatMap((side) => this.#casesOf(side, truth, facts, locals))
          : [[left, right].flatMap((side) => where(side, facts, truth))];
      }
      case '?:': {
        const [asked, then, otherwise] = test.args;
        return [
          [
            ...where(asked, facts, true).flatMap((outer) => where(then, outer, truth)),
            ...where(asked, facts, false).flatMap((outer) => where(otherwise, outer, truth)),
          ],
        ];
      }
      default:
        return [];
    }
  }

  /** A condition inside an expression, as the fact that one of a step would be. */
  #conditionsOf(test: ASTNode, truth: boolean, locals: Locals): string[] {
    let isKnown = true;
    const expr: Expr = lower(
      test,
      (node) => this.#typeName(node),
      () => {
        isKnown = false;
      },
    );
    // The same word means something else outside of the macro that binds it.
    const local = [...locals.keys()].map((name) => JSON.stringify({ op: 'name', name }));
    return isKnown
      ? knownFrom(expr, truth).filter((fact) => !local.some((name) => fact.includes(name)))
      : [];
  }

  /** The library's name for the type of a node, as far as it is known before the library has looked. */
  #typeName(node: ASTNode): string {
    if (node.op === 'value' && typeof node.args === 'bigint') return 'int';
    if (node.op === 'value' && typeof node.args === 'number') return 'double';
    switch (this.typeOf(node)?.kind) {
      case 'int':
        return 'int';
      case 'number':
        return 'double';
      case 'string':
      case 'one_of':
        return 'string';
      case 'list':
        return 'list';
      default:
        return 'dyn';
    }
  }

  /** The type of a value here: without `null` where a condition has seen that it is not. */
  #certain(node: ASTNode, type: Type | null, facts: Facts, locals: Locals): Type | null {
    if (type?.kind !== 'nullable') return type;
    const path = pathOf(node, locals);
    return path !== null && facts.has(notNull(path)) ? type.of : type;
  }

  #comparison(node: ASTNode & { op: '==' | '!=' | 'in' }, facts: Facts, locals: Locals): Facing {
    const [left, right] = node.args;
    const [asked, against] = right.op === 'value' ? [left, right] : [right, left];
    const literal = against.op === 'value' ? against.args : undefined;
    if (literal === null) this.#againstNull = asked;
    this.#visit(against, facts, locals);
    const facing = this.#visit(asked, facts, locals);
    for (const found of findIdleWords(
      node,
      (one) => this.typeOf(one),
      ({ start, end }) => this.#source.text.slice(start, end),
    ))
      this.#report('EXPRESSION_TYPE', found.node, found.message, found.hint);
    if (node.op === 'in') return OPEN;
    const path = pathOf(asked, locals);
    // It could be compared, so it was there: where that is a mistake, it is told once.
    const there = path === null ? NOTHING : new Set(prefixesOf(path));
    const same =
      literal === null && path !== null
        ? { whenTrue: there, whenFalse: new Set([...there, notNull(path)]) }
        : typeof literal === 'boolean' && path === null
          ? literal
            ? facing
            : turned(facing)
          : { whenTrue: there, whenFalse: there };
    return node.op === '==' ? same : turned(same);
  }

  #name(at: ASTNode, name: string, locals: Locals): Type | null {
    const local = locals.get(name);
    if (local !== undefined) return local.type;
    const item = this.#scope.names.get(name);
    if (item !== undefined) return this.#seen(item);
    const isAlone = this.#scope.namesOnly === true;
    if (name === 'inputs' && !isAlone) return this.#seen(this.#scope.inputs);
    if (name === 'run' && !isAlone) return this.#scope.run;
    if (name === 'steps' && !isAlone) {
      this.#report(
        'EXPRESSION_TYPE',
        at,
        '`steps` alone is no value',
        'read an output: `steps.<id>.<output>`',
      );
      return null;
    }
    const roots = isAlone ? [] : ['inputs', 'steps', 'run'];
    const known = [...new Set([...roots, ...this.#scope.names.keys(), ...locals.keys()])];
    const hint = unknownNameHint(name, this.#scope, known);
    this.#report('NAME_UNKNOWN', at, `there is no \`${name}\` here`, hint);
    return null;
  }

  #seen(type: Type): Type {
    if (type.kind === 'unknown') this.sawUnknown = true;
    return type;
  }

  /** `optional` members are read only where a fact says that they are there. */
  #member(node: ASTNode & { op: '.' }, facts: Facts, locals: Locals): Type | null {
    const [of, key] = node.args;
    const at = { start: node.end - key.length, end: node.end };
    if (this.#isStep(of, locals)) {
      return this.#step(key, { start: of.start, end: node.end }, facts);
    }
    this.#visit(of, facts, locals);
    const type = this.typeOf(of);
    if (type === null || type.kind === 'unknown') return type;
    if (type.kind === 'any') return ANY;
    if (type.kind === 'map') return this.#seen(type.of);
    const fields = fieldsOf(type);
    const path = pathOf(node, locals);
    if (fields === null) {
      this.#report(
        'MEMBER_UNKNOWN',
        at,
        `${article(type)} has no members, so no \`${key}\``,
        noMembersHint(type, key),
      );
      return null;
    }
    const field = fields.get(key);
    if (type === this.#scope.inputs) this.#scope.file.inputsRead.add(key);
    if (field === undefined) {
      this.#reportNoMember(of, key, at, type);
      return null;
    }
    if (field.optional && (path === null || !facts.has(path))) {
      const shown = path === null ? key : writtenPath(path);
      this.#report(
        'MEMBER_UNCERTAIN',
        { start: node.start, end: node.end },
        `\`${shown}\` may not be there`,
        node === this.#againstNull
          ? `ask with \`has(${shown})\`: what is not there is no \`null\``
          : path?.startsWith('inputs.') === true
            ? `give the input a default, or guard it: \`has(${shown}) ? ${shown} : …\``
            : `guard it: \`has(${shown}) ? ${shown} : …\``,
      );
    }
    return this.#seen(field.type);
  }

  /** It is `steps`, so that its member is a step. */
  #isStep(node: ASTNode, locals: Locals): boolean {
    return (
      node.op === 'id' &&
      node.args === 'steps' &&
      this.#scope.namesOnly !== true &&
      !locals.has('steps')
    );
  }

  #reportNoMember(of: ASTNode, key: string, at: { start: number; end: number }, type: Type): void {
    const isInputs = of.op === 'id' && of.args === 'inputs';
    const stepId =
      of.op === '.' && of.args[0].op === 'id' && of.args[0].args === 'steps' ? of.args[1] : null;
    const [code, message, otherwise] = isInputs
      ? (['NAME_UNKNOWN', `there is no input \`${key}\``, 'declare it under `inputs:`'] as const)
      : stepId !== null
        ? ([
            'MEMBER_UNKNOWN',
            `the step \`${stepId}\` has no output \`${key}\``,
            'it has no outputs',
          ] as const)
        : ([
            'MEMBER_UNKNOWN',
            `${type.kind === 'record' ? `\`${pathOf(of) ?? 'this'}\`` : article(type)} has no member \`${key}\``,
            '',
          ] as const);
    const hint = unknownMemberHint(key, type, {
      isOutputs: of.op === '.' && of.args[1] === 'outputs',
      step: stepId,
      otherwise,
    });
    this.#report(code, at, message, hint);
  }

  /** The outputs of a step, as seen from here. */
  #step(id: string, at: { start: number; end: number }, facts: Facts): Type | null {
    const { file, visible } = this.#scope;
    const outputs = visible.get(id);
    if (outputs !== undefined) {
      if (!facts.has(`steps.${id}`)) {
        this.#report(
          'STEP_UNCERTAIN',
          at,
          `the step \`${id}\` may not have run here: ${file.doubts.get(id) ?? 'it can be skipped'}`,
          `guard it with \`has(steps.${id}) ? … : …\`, or move this to where it has certainly run`,
        );
      }
      return this.#seen(outputs);
    }
    if (file.broken.has(id)) {
      this.sawUnknown = true;
      return null;
    }
    const place = file.ids.get(id);
    const branch = branchBeside(id, this.#scope.beside);
    if (place === undefined) {
      file.missing(id, this.#source.toRange(at.start, at.end));
      this.sawUnknown = true;
    } else if (!place.hasOutputs) {
      this.#report(
        'MEMBER_UNKNOWN',
        at,
        `\`${id}\` is ${place.kind === 'if' ? 'an' : 'a'} \`${place.kind}\`, which has no outputs`,
        ['wait', 'stop'].includes(place.kind) ? '' : 'read the outputs of a step inside it',
      );
    } else if (place.foreach.some((key) => visible.has(key))) {
      const block = place.foreach.find((key) => visible.has(key)) ?? '';
      this.#report(
        'STEP_NOT_VISIBLE',
        at,
        `the step \`${id}\` runs many times in \`${block}\`, so it has no one output here`,
        `let \`${block}\` collect it, and read \`steps.${block}.results\``,
      );
    } else if (branch !== null && (branch.isUnclear || branch.told.has(id))) {
      this.sawUnknown = true;
    } else if (branch !== null) {
      branch.told.add(id);
      this.#report(
        'STEP_NOT_VISIBLE',
        at,
        `the step \`${id}\` runs beside this one, and may end later`,
        branch.name === null
          ? 'give its branch an `id`, and let this one have `needs: [that id]`'
          : `let this branch wait for it: \`needs: [${branch.name}]\``,
      );
    } else if (id === this.#scope.self) {
      this.#report(
        'STEP_NOT_VISIBLE',
        at,
        `the step \`${id}\` reads itself`,
        'it has outputs only when it has ended',
      );
    } else if (this.#scope.blocks?.has(place.range.start) === true) {
      this.#report(
        'STEP_NOT_VISIBLE',
        at,
        `\`${id}\` is the block around this place, and has not ended here`,
        'its outputs are there behind it',
      );
    } else {
      const isFar = place.blocks.some((block) => this.#scope.blocks?.has(block) !== true);
      this.#report(
        'STEP_NOT_VISIBLE',
        at,
        `the step \`${id}\` has not run before this place`,
        isFar
          ? 'it runs inside a block that repeats it; use `collect`'
          : 'move it up, or this down',
      );
    }
    return null;
  }

  #ternaryType(then: ASTNode, otherwise: ASTNode): Type | null {
    const isNull = (node: ASTNode): boolean => node.op === 'value' && node.args === null;
    for (const [branch, other] of [
      [then, otherwise],
      [otherwise, then],
    ] as const) {
      if (!isNull(branch)) continue;
      this.nulls.push(branch);
      const type = this.typeOf(other);
      return type === null || type.kind === 'any'
        ? null
        : type.kind === 'nullable'
          ? type
          : { kind: 'nullable', of: type };
    }
    const left = this.typeOf(then);
    const right = this.typeOf(otherwise);
    if (left !== null && right !== null) return joinTypes(left, right);
    const isNullable = left?.kind === 'nullable' || right?.kind === 'nullable';
    return isNullable ? { kind: 'nullable', of: ANY } : null;
  }

  #listType(items: readonly ASTNode[]): Type | null {
    const [first = null, ...others] = items.map((item) => this.typeOf(item));
    let of = first;
    for (const other of others) of = of === null || other === null ? null : joinTypes(of, other);
    return of === null ? null : { kind: 'list', of };
  }

  #call(
    node: ASTNode,
    name: string,
    args: readonly ASTNode[],
    facts: Facts,
    locals: Locals,
  ): Facing {
    const arity = FUNCTIONS.get(name);
    if (arity === undefined || arity !== args.length) {
      this.#noFunction(node, name, args.length, arity === undefined ? [] : [arity], [
        ...FUNCTIONS.keys(),
      ]);
      return OPEN;
    }
    const [argument] = args;
    if (name !== 'has' || argument === undefined) {
      for (const arg of args) this.#visit(arg, facts, locals);
      return OPEN;
    }
    const path = pathOf(argument, locals);
    if (argument.op !== '.' || path === null) {
      this.#report(
        'EXPRESSION_TYPE',
        argument,
        '`has` takes a path such as `steps.claim.claim`',
        '',
      );
      return OPEN;
    }
    // Everything on the path is there when `has` says so; names must be right all the same.
    const prefixes = prefixesOf(path);
    this.#visit(argument, new Facts(facts).add(prefixes), locals);
    this.#types.set(node, BOOL);
    this.values.delete(argument);
    this.values.set(node, BOOL);
    return { whenTrue: new Set(prefixes), whenFalse: NOTHING };
  }

  #method(
    node: ASTNode,
    [name, receiver, args]: readonly [string, ASTNode, readonly ASTNode[]],
    facts: Facts,
    locals: Locals,
  ): void {
    this.#visit(receiver, facts, locals);
    const macro = MACROS.get(name);
    const arities = macro ?? METHODS.get(name);
    if (arities === undefined || !arities.includes(args.length)) {
      this.#noFunction(node, name, args.length, arities ?? [], [
        ...METHODS.keys(),
        ...MACROS.keys(),
      ]);
      return;
    }
    const [variable, ...bodies] = args;
    if (macro === undefined || variable === undefined) {
      for (const arg of args) this.#visit(arg, facts, locals);
      return;
    }
    if (variable.op !== 'id') {
      this.#report(
        'EXPRESSION_TYPE',
        variable,
        `the first argument of \`${name}\` names the item`,
        'for instance `r`',
      );
      return;
    }
    const range = this.typeOf(receiver);
    const item = range?.kind === 'list' ? range.of : range?.kind === 'any' ? ANY : null;
    const mark = markOf(variable.args, (this.#macros += 1));
    const inner = new Map(locals).set(variable.args, { type: item, mark });
    let within = facts;
    let isSome = false;
    for (const body of bodies) {
      const asked = this.#visit(body, within, inner);
      within = this.#where(body, asked, true, within, inner);
      isSome = asked.whenTrue?.has(notNull(mark)) === true;
    }
    const last = bodies.at(-1);
    const made = last === undefined ? null : this.typeOf(last);
    if (name === 'filter' && isSome && item?.kind === 'nullable')
      this.#types.set(node, { kind: 'list', of: item.of });
    else if (name === 'filter') this.#types.set(node, range?.kind === 'list' ? range : null);
    else if (name === 'map')
      this.#types.set(node, made === null ? null : { kind: 'list', of: made });
    else this.#types.set(node, BOOL);
  }

  #noFunction(
    node: ASTNode,
    name: string,
    given: number,
    arities: readonly number[],
    known: string[],
  ): void {
    const at = { start: node.start, end: node.end };
    const reason = LEFT_OUT.get(name);
    if (arities.length > 0) {
      this.#report(
        'EXPRESSION_TYPE',
        at,
        `\`${name}\` takes ${arities.join(' or ')} ${arities.at(-1) === 1 ? 'argument' : 'arguments'}, not ${given}`,
        '',
      );
    } else if (reason !== undefined) {
      this.#report(
        'EXPRESSION_UNSUPPORTED',
        at,
        `\`${name}\` is not available in expressions`,
        reason,
      );
    } else {
      this.#report(
        'NAME_UNKNOWN',
        at,
        `there is no function \`${name}\``,
        functionHint(name, known),
      );
    }
  }
}

/** Everything on a path, but for the name that it begins with. */
function prefixesOf(path: string): string[] {
  const parts = path.split('.');
  return parts.map((_, at) => parts.slice(0, at + 1).join('.')).slice(1);
}

function article(type: Type): string {
  const name = printType(type);
  return `${/^[aeiou]/i.test(name) ? 'an' : 'a'} ${name}`;
}
