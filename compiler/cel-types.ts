/**
 * Our types as the CEL library knows them. The names in an expression are resolved by us (references.ts), so the
 * library is told the type of each node that reads one: it looks up no variable, and one environment serves every
 * expression of every file. (An environment per expression made a check four to nine times as long.)
 */
import { Environment, type ASTNode } from '@marcbachmann/cel-js';
import { ANY, BOOL, INT, NULL, NUMBER, STRING, type Fields, type Type } from './types.js';

const LIMITS = { maxAstNodes: 3_000, maxDepth: 60, maxListElements: 1_000, maxMapEntries: 1_000 };

/** Records that one environment learns before a new one takes its place. */
const MOST_RECORDS = 200;

/** What the library's names of anonymous records begin with; what follows is their label. */
export const RECORD_PREFIX = /\brecord\.\d+\./g;

/** The library keeps the type of a node in a member of it that its declared interface leaves out. */
interface CheckedNode {
  checkedType?: { readonly name: string };
}

/** The library's name for the type that it found for a node, `dyn` where it found none. */
export function typeNameOf(node: ASTNode): string {
  return (node as ASTNode & CheckedNode).checkedType?.name ?? 'dyn';
}

class CelTypes {
  readonly environment = new Environment({ limits: LIMITS, homogeneousAggregateLiterals: true });
  /** Names of records, which are told apart by what they are: two may have one label. */
  readonly #names = new Map<Type, string>();
  readonly #records = new Map<string, Type>();
  /** The library's own object for a type, by the library's name. */
  readonly #declared = new Map<string, NonNullable<CheckedNode['checkedType']>>();

  constructor() {
    for (const name of ['duration', 'timestamp'])
      this.environment.registerType(name, { fields: {} });
  }

  get isFull(): boolean {
    return this.#records.size >= MOST_RECORDS;
  }

  /** The library takes this type for the type of this node, without a look at what the node is. */
  settle(node: ASTNode, type: Type): void {
    const name = this.#nameOf(type);
    let declared = this.#declared.get(name);
    if (declared === undefined) {
      const variable = `of_type_${this.#declared.size}`;
      this.environment.registerVariable(variable, name);
      const sample = this.environment.parse(variable);
      sample.check();
      declared = (sample.ast as ASTNode & CheckedNode).checkedType;
      if (declared === undefined) throw new Error(`The CEL library keeps no type for ${name}.`);
      this.#declared.set(name, declared);
    }
    (node as ASTNode & CheckedNode).checkedType = declared;
  }

  /** The type that the library calls so. */
  read(name: string): Type {
    const simple = SIMPLE.get(name);
    if (simple !== undefined) return simple;
    const list = /^list<(.+)>$/.exec(name);
    if (list !== null) return { kind: 'list', of: this.read(list[1] ?? 'dyn') };
    const map = /^map<[^,]+, (.+)>$/.exec(name);
    if (map !== null) return { kind: 'map', of: this.read(map[1] ?? 'dyn') };
    return this.#records.get(name) ?? ANY;
  }

  #nameOf(type: Type): string {
    switch (type.kind) {
      case 'number':
        return 'double';
      case 'one_of':
        return 'string';
      case 'any':
      case 'unknown':
      case 'nullable':
        return 'dyn';
      case 'list':
        return `list<${this.#nameOf(type.of)}>`;
      case 'map':
        return `map<string, ${this.#nameOf(type.of)}>`;
      case 'named':
        return this.#records.has(type.name) ? type.name : this.#register(type.name, type);
      case 'record':
        return (
          this.#names.get(type) ??
          this.#register(`record.${this.#records.size}.${type.label}`, type)
        );
      default:
        return type.kind;
    }
  }

  #register(name: string, type: Type & { readonly fields: Fields }): string {
    this.#names.set(type, name);
    this.#records.set(name, type);
    const fields = [...type.fields].map(([key, field]) => [key, this.#nameOf(field.type)]);
    this.environment.registerType(name, { fields: Object.fromEntries(fields) });
    return name;
  }
}

const SIMPLE: ReadonlyMap<string, Type> = new Map<string, Type>([
  ['string', STRING],
  ['int', INT],
  ['double', NUMBER],
  ['bool', BOOL],
  ['null', NULL],
  ['dyn', ANY],
  ['list', { kind: 'list', of: ANY }],
  ['map', { kind: 'map', of: ANY }],
  ['duration', { kind: 'duration' }],
  ['timestamp', { kind: 'timestamp' }],
]);

let current: CelTypes | null = null;

/** An environment that learns the types of the expressions that are checked with it. */
export function celTypes(): CelTypes {
  if (current === null || current.isFull) current = new CelTypes();
  return current;
}
