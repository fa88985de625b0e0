/**
 * What a test expects, as CEL over how the run ended and which steps ran.
 *
 * `ran`, `starts` and `states` are maps by the name of a step (its id, its path, the path of one item). A name that the
 * pipeline does not have is a mistake at its place: `!ran.clam` would else be true for ever.
 */
import { ERROR, RUN } from '../compiler/block-types.js';
import { inputsType, type CheckedPipeline } from '../compiler/check.js';
import type { DiagnosticCode, Diagnostics } from '../compiler/diagnostic.js';
import { compileExpression } from '../compiler/expression.js';
import { headOf } from '../compiler/read-map.js';
import { Facts } from '../compiler/facts.js';
import { FileNames, Visible, type IdPlace, type Scope } from '../compiler/scope.js';
import { suggestHint } from '../compiler/suggest.js';
import { bareSource } from '../compiler/template.js';
import { ANY, BOOL, INT, printType, STRING, type Field, type Type } from '../compiler/types.js';
import type { ScalarNode, SourceNode } from '../compiler/yaml.js';
import { STEP_ERRORS } from '../core/error.js';
import type { Expr } from '../core/expression.js';
import { DEFECT } from './step-codes.js';
import { kindOf, type StepNames } from './step-names.js';
import type { Assertion } from './test-file.js';

export const RUN_STATUSES = ['succeeded', 'failed', 'stopped', 'cancelled'] as const;

/** `pending`: the run did not come by it. */
export const STEP_STATUSES = [...RUN_STATUSES, 'skipped', 'pending', 'running', 'parked'] as const;

/** Maps by the name of a step. */
const MAPS: readonly string[] = ['ran', 'starts', 'states'];

/** What assertions see; the same for all tests of a file. */
export function assertionScope(pipeline: CheckedPipeline, names: StepNames): Scope {
  const visible = new Visible();
  for (const [id, type] of pipeline.stepOutputs) visible.add(id, certain(type));
  return {
    inputs: certain(inputsType(pipeline.inputs)),
    run: RUN,
    names: new Map<string, Type>([
      ['status', { kind: 'one_of', values: RUN_STATUSES }],
      ['error', ERROR],
      ['outputs', outputsField(pipeline)],
      ['ran', { kind: 'map', of: BOOL }],
      ['starts', { kind: 'map', of: INT }],
      ['states', { kind: 'map', of: { kind: 'one_of', values: STEP_STATUSES } }],
      ['order', { kind: 'list', of: STRING }],
      ['seconds', INT],
      ['shown', shownType(names)],
    ]),
    visible,
    facts: new Facts().add([...visible.own.keys()].map((id) => `steps.${id}`)),
    file: new FileNames(placesOf(names), new Set()),
  };
}

/** The outputs of the run. */
export function outputsField({ outputTypes }: CheckedPipeline): Type {
  return recordOf(
    'outputs',
    outputTypes.map(([name, type]) => [name, certain(type)]),
  );
}

/** What approvals show, by their ids; those in items have no one value. */
function shownType(names: StepNames): Type {
  const approvals = names.all.flatMap(({ step, turns, calls }): [string, Type][] => {
    if (step?.kind !== 'approve' || step.id === undefined || turns.length + calls > 0) return [];
    const shown = step.show.map(([name]): [string, Type] => [name, ANY]);
    return [[step.id, recordOf(`shown.${step.id}`, shown)]];
  });
  return recordOf('shown', approvals);
}

function recordOf(label: string, types: ReadonlyArray<readonly [string, Type]>): Type {
  const fields = types.map(
    ([name, type]) => [name, { type, optional: false, summary: '' }] as const,
  );
  return { kind: 'record', label, fields: new Map<string, Field>(fields) };
}

/** Every member may be read: one that is not there makes the assertion fail, which is what an assertion is for. */
export function certain(type: Type): Type {
  if (type.kind === 'list' || type.kind === 'map') return { kind: type.kind, of: certain(type.of) };
  if (type.kind === 'nullable') return certain(type.of);
  if (type.kind !== 'named' && type.kind !== 'record') return type;
  const fields = new Map<string, Field>(
    [...type.fields].map(([name, field]) => [
      name,
      { ...field, type: certain(field.type), optional: false },
    ]),
  );
  return { ...type, fields };
}

function placesOf(names: StepNames): ReadonlyMap<string, IdPlace> {
  const places = new Map<string, IdPlace>();
  for (const { step, turns, calls } of names.all) {
    // What a called file gives is seen through its outputs.
    if (step?.id === undefined || calls > 0) continue;
    const blocks = turns.map((path) => names.at(path)?.step?.key ?? path);
    const hasOutputs = ['step', 'foreach', 'repeat', 'pipeline', 'approve'].includes(step.kind);
    places.set(step.id, {
      range: { start: 0, end: 0 },
      foreach: blocks,
      blocks: [],
      kind: step.kind,
      hasOutputs,
    });
  }
  return places;
}

/** The assertions of a test; a single one needs no list. */
export function readAssertions(
  node: SourceNode,
  scope: Scope,
  names: StepNames,
  diagnostics: Diagnostics,
): Assertion[] {
  const nodes = node.kind === 'list' ? node.items : [node];
  if (nodes.length === 0) {
    diagnostics.add(
      'VALUE_INVALID',
      headOf(node),
      '`expect` lists nothing',
      "for instance `- status == 'succeeded'`",
    );
  }
  return nodes.flatMap((one) => readAssertion(one, scope, names, diagnostics) ?? []);
}

/** One of them; null where it is wrong, which is told. */
export function readAssertion(
  node: SourceNode,
  scope: Scope,
  names: StepNames,
  diagnostics: Diagnostics,
): Assertion | null {
  if (node.kind === 'scalar' && node.broken === true) return null;
  if (node.kind !== 'scalar' || node.value === null) {
    diagnostics.add(
      'VALUE_INVALID',
      headOf(node),
      'what is expected is an expression',
      "put it in quotes when it begins with `!`, `[` or `{`: `- '!ran.claim'`",
    );
    return null;
  }
  const scalar: ScalarNode = { ...node, value: String(node.value) };
  const source = bareSource(scalar, diagnostics);
  const before = diagnostics.size;
  const { expr, type } = compileExpression(source, scope, diagnostics);
  if (expr === null || diagnostics.size > before) return null;
  if (type.kind !== 'bool' && type.kind !== 'any') {
    diagnostics.add(
      'EXPRESSION_TYPE',
      source.toRange(0, source.text.length),
      `what is expected is true or false, and this is ${printType(type)}`,
      'compare it with something',
    );
    return null;
  }
  const lookups: Assertion['lookups'][number][] = [];
  const check = new WordCheck(names, (code, word, message, hint) => {
    diagnostics.add(code, source.toRange(...placeOf(word, source.text)), message, hint);
  });
  check.visit(expr, lookups);
  if (diagnostics.size > before) return null;
  return { range: headOf(node), text: source.text, expr, lookups };
}

/** The tree keeps no places: a word that is wrong is looked for in the text. */
function placeOf(word: string, text: string): [number, number] {
  for (const quoted of [`'${word}'`, `"${word}"`, word]) {
    const at = text.indexOf(quoted);
    if (at !== -1) return [at, at + quoted.length];
  }
  return [0, text.length];
}

type Report = (code: DiagnosticCode, word: string, message: string, hint: string) => void;

/** Words that are only text to CEL: names of steps, error codes. */
class WordCheck {
  readonly #names: StepNames;
  readonly #report: Report;

  constructor(names: StepNames, report: Report) {
    this.#names = names;
    this.#report = report;
  }

  visit(expr: Expr, lookups: Assertion['lookups'][number][]): void {
    const again = (inner: Expr): void => this.visit(inner, lookups);
    switch (expr.op) {
      case 'lit':
      case 'name':
        return;
      case 'member':
      case 'has':
        if (!this.#lookup(expr.of, expr.key, lookups)) again(expr.of);
        return;
      case 'index': {
        const key =
          expr.by.op === 'lit' && typeof expr.by.value === 'string' ? expr.by.value : null;
        if (key !== null && this.#lookup(expr.of, key, lookups)) return;
        again(expr.of);
        again(expr.by);
        return;
      }
      case 'list':
        expr.items.forEach(again);
        return;
      case 'map':
        for (const [key, value] of expr.entries) {
          again(key);
          again(value);
        }
        return;
      case 'call':
        if (['_==_', '_!=_', '_in_'].includes(expr.fn)) this.#compared(expr.args);
        expr.args.forEach(again);
        return;
      case 'comprehension':
        again(expr.of);
        if (expr.where !== undefined) again(expr.where);
        again(expr.body);
    }
  }

  /** True when this reads one of the maps. */
  #lookup(of: Expr, key: string, lookups: Assertion['lookups'][number][]): boolean {
    if (of.op !== 'name' || !MAPS.includes(of.name)) return false;
    const found = this.#names.find(key);
    const map = of.name;
    if (found === null) {
      this.#report(
        'NAME_UNKNOWN',
        key,
        `the pipeline has no step \`${key}\``,
        this.#names.hint(key),
      );
    } else if (map === 'starts' && found.named.step?.kind !== 'step') {
      this.#report(
        'VALUE_INVALID',
        key,
        `\`${key}\` is ${kindOf(found.named)}, which is not started`,
        'only steps with `uses` are; `ran` and `states` know the others too',
      );
    } else if (map === 'states' && found.pattern.includes('#*')) {
      this.#report(
        'VALUE_INVALID',
        key,
        `\`${key}\` runs once in each item`,
        `name one: \`states['${found.pattern.replaceAll('#*', '#0')}']\``,
      );
    } else lookups.push({ map, key });
    return true;
  }

  /** A text beside a code or `order` must be one that can be there. */
  #compared(args: readonly Expr[]): void {
    for (const [at, arg] of args.entries()) {
      const other = args[1 - at];
      if (other === undefined) continue;
      const words = wordsOf(other);
      if (arg.op === 'member' && arg.key === 'code' && isName(arg.of, 'error')) this.#codes(words);
      else if (arg.op === 'member' && arg.key === 'step' && isName(arg.of, 'error'))
        this.#paths(words);
      else if (isName(arg, 'order')) this.#paths(words);
    }
  }

  #codes(words: readonly string[]): void {
    const known = [...Object.keys(STEP_ERRORS), 'STOPPED', 'RUN_DEADLINE', DEFECT, ''];
    for (const word of words.filter((one) => !known.includes(one)))
      this.#report(
        'ERROR_CODE_UNKNOWN',
        word,
        `there is no error code \`${word}\``,
        suggestHint(word, known, ''),
      );
  }

  #paths(words: readonly string[]): void {
    for (const word of words) {
      const found = word === '' ? undefined : this.#names.find(word);
      if (found === null)
        this.#report(
          'NAME_UNKNOWN',
          word,
          `the pipeline has no step \`${word}\``,
          this.#names.hint(word),
        );
      else if (found !== undefined && (found.pattern !== word || word.includes('#*')))
        this.#report(
          'VALUE_INVALID',
          word,
          `\`${word}\` is no path of a run`,
          `its path is \`${found.pattern.replaceAll('#*', '#0')}\``,
        );
    }
  }
}

function isName(expr: Expr, name: string): boolean {
  return expr.op === 'name' && expr.name === name;
}

function wordsOf(expr: Expr): string[] {
  if (expr.op === 'lit') {
    const values = Array.isArray(expr.value) ? expr.value : [expr.value];
    return values.filter((value) => typeof value === 'string');
  }
  return expr.op === 'list' ? expr.items.flatMap(wordsOf) : [];
}
