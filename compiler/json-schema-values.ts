/**
 * The inputs of a step type as JSON Schema for an editor: what `with` takes, where any value, whole or in part, may be an
 * expression. It comes from the zod schema, so that lengths and patterns are those that the checker goes by.
 */
import { z } from 'zod';
import { DURATION_PATTERN } from '../core/duration.js';
import type { Json } from '../core/json.js';
import type { StepSignature } from './step-signature.js';
import { isWritable } from './types.js';

/** JSON Schema, draft 7, as far as it is used here. */
export interface Schema {
  [keyword: string]: unknown;
}

const HAS_EXPRESSION = '\\$\\{\\{';

/** Definitions that every schema with values refers to. */
export const VALUE_DEFINITIONS = {
  duration: {
    type: 'string',
    pattern: DURATION_PATTERN.source,
    patternErrorMessage: 'A duration is numbers with a unit: 250ms, 90s, 15m, 1h30m, 2d.',
  },
  expression: {
    type: 'string',
    pattern: HAS_EXPRESSION,
    patternErrorMessage:
      'This takes a value of its type, or an expression: ${{ steps.<id>.<output> }}.',
  },
} satisfies { readonly [name: string]: Schema };

const EXPRESSION: Schema = { $ref: '#/definitions/expression' };

/**
 * What `with` of a step of this type takes. `define` is handed each value that can be written down, under its name, and
 * `examples` are values of the step type's own example, by input.
 */
export function inputsSchema(
  signature: StepSignature,
  examples: { readonly [input: string]: Json },
  define: (name: string, schema: Schema) => void,
): Schema {
  const json = z.toJSONSchema(signature.input, {
    io: 'input',
    target: 'draft-7',
    unrepresentable: 'any',
  }) as JsonSchema;
  const definitions = json.definitions ?? {};
  const values = new Values(definitions, define);
  const required = json.required ?? [];
  const properties = Object.entries(json.properties ?? {}).map(([name, property]) => {
    const bare = signature.metricConditions?.includes(name) === true;
    const value = bare ? bareExpression(property) : values.toTemplate(property);
    const example = examples[name];
    return [
      name,
      {
        ...annotations(property),
        ...(example === undefined ? {} : { examples: [example] }),
        // `null` is how an optional input is left out.
        ...(required.includes(name) ? value : orNull(value)),
      },
    ];
  });
  return {
    description: `Inputs of ${signature.name}.`,
    type: 'object',
    properties: Object.fromEntries(properties),
    additionalProperties: false,
    ...(required.length === 0 ? {} : { required }),
  };
}

interface JsonSchema {
  readonly $ref?: string;
  readonly definitions?: { readonly [name: string]: JsonSchema };
  readonly allOf?: readonly JsonSchema[];
  readonly type?: string;
  readonly properties?: { readonly [name: string]: JsonSchema };
  readonly required?: readonly string[];
  readonly propertyNames?: JsonSchema;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly items?: JsonSchema;
  readonly enum?: readonly Json[];
  readonly const?: Json;
  readonly description?: string;
  readonly default?: Json;
  readonly [keyword: string]: unknown;
}

/** Of a text: what an expression in it need not keep, since nobody knows what it will be. */
const TEXT_RULES = ['pattern', 'maxLength'];

/** Rules that stay with a value that is no expression. */
const RULES = [
  'type',
  'minLength',
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
  'minItems',
  'maxItems',
];

class Values {
  readonly #definitions: { readonly [name: string]: JsonSchema };
  readonly #define: (name: string, schema: Schema) => void;

  constructor(
    definitions: { readonly [name: string]: JsonSchema },
    define: (name: string, schema: Schema) => void,
  ) {
    this.#definitions = definitions;
    this.#define = define;
  }

  /** A value that may be an expression, or have expressions in it. */
  toTemplate(schema: JsonSchema): Schema {
    const ref = refOf(schema);
    if (ref !== null) return this.#named(ref);
    if (schema.enum !== undefined) return { anyOf: [{ enum: schema.enum }, EXPRESSION] };
    if (schema.const !== undefined) return { anyOf: [{ enum: [schema.const] }, EXPRESSION] };
    switch (schema.type) {
      case 'string':
        return toText(schema);
      case 'integer':
      case 'number':
      case 'boolean':
        return { anyOf: [rules(schema), EXPRESSION] };
      case 'array':
        return {
          anyOf: [{ ...rules(schema), items: this.toTemplate(schema.items ?? {}) }, EXPRESSION],
        };
      case 'object':
        return { anyOf: [this.#toObject(schema), EXPRESSION] };
      default:
        return {};
    }
  }

  #toObject(schema: JsonSchema): Schema {
    const { properties, required, propertyNames, additionalProperties } = schema;
    if (properties === undefined) {
      const of = typeof additionalProperties === 'object' ? additionalProperties : {};
      const names = propertyNames?.['pattern'];
      return {
        type: 'object',
        ...(names === undefined ? {} : { propertyNames: { pattern: names } }),
        additionalProperties: this.toTemplate(of),
      };
    }
    return {
      type: 'object',
      properties: Object.fromEntries(
        Object.entries(properties).map(([name, property]) => [
          name,
          { ...annotations(property), ...this.toTemplate(property) },
        ]),
      ),
      ...(required === undefined || required.length === 0 ? {} : { required }),
      additionalProperties: false,
    };
  }

  #named(name: string): Schema {
    const schema = this.#definitions[name] ?? {};
    if (name === 'duration') {
      return {
        anyOf: [{ $ref: '#/definitions/duration' }, EXPRESSION],
      };
    }
    if (name === 'timestamp') return { type: 'string' };
    // Names that zod makes up stand for schemas without an id; the only one in use is "any JSON".
    if (name.startsWith('__')) return {};
    if (!isWritable(name)) {
      this.#define(name, {
        type: 'string',
        pattern: HAS_EXPRESSION,
        patternErrorMessage: `A ${name} comes from a step: \${{ steps.<id>.<output> }}.`,
      });
      return { $ref: `#/definitions/${name}` };
    }
    this.#define(name, {
      ...annotations(schema),
      ...this.toTemplate({ ...schema, id: undefined }),
    });
    return { $ref: `#/definitions/${name}` };
  }
}

/** A named value with a description of its own is an `allOf` of one. */
function refOf(schema: JsonSchema): string | null {
  const ref = schema.$ref ?? (schema.allOf?.length === 1 ? schema.allOf[0]?.$ref : undefined);
  return ref === undefined ? null : ref.replace('#/definitions/', '');
}

/** A text with an expression in it is as long, and looks, as nobody knows before the run. */
function toText(schema: JsonSchema): Schema {
  const own = Object.entries(schema).filter(([key]) => TEXT_RULES.includes(key));
  if (own.length === 0) return rules(schema);
  return { ...rules(schema), anyOf: [Object.fromEntries(own), { pattern: HAS_EXPRESSION }] };
}

/** A condition over metrics stays text: it holds no `${{ … }}`. */
function bareExpression(schema: JsonSchema): Schema {
  return { ...rules(schema), not: { pattern: HAS_EXPRESSION } };
}

function rules(schema: JsonSchema): Schema {
  return Object.fromEntries(
    Object.entries(schema).filter(
      ([key, value]) => RULES.includes(key) && !isSafeIntegerBound(value),
    ),
  );
}

/** zod writes the limits of a JavaScript integer down, which tell an author nothing. */
function isSafeIntegerBound(value: unknown): boolean {
  return value === Number.MAX_SAFE_INTEGER || value === Number.MIN_SAFE_INTEGER;
}

function annotations(schema: JsonSchema): Schema {
  return {
    ...(schema.description === undefined ? {} : { description: schema.description }),
    ...(schema.default === undefined ? {} : { default: schema.default }),
  };
}

function orNull(schema: Schema): Schema {
  if (Array.isArray(schema['anyOf']) && schema['type'] === undefined)
    return { anyOf: [...(schema['anyOf'] as Schema[]), { type: 'null' }] };
  return Object.keys(schema).length === 0 ? schema : { anyOf: [schema, { type: 'null' }] };
}
