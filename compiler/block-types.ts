/** Types of what the language itself gives: the run, and the outputs of blocks. */
import type { InputDeclaration } from './pipeline.js';
import { STEP_ERRORS } from '../core/error.js';
import { INT, STRING, type Field, type Type } from './types.js';

/** `run` in every expression. */
export const RUN: Type = {
  kind: 'record',
  label: 'run',
  fields: new Map<string, Field>([
    ['id', { type: STRING, optional: false, summary: 'Id of the run.' }],
    ['round', { type: STRING, optional: false, summary: 'Id of the first run of the round.' }],
    ['pipeline', { type: STRING, optional: false, summary: 'Name of the pipeline.' }],
  ]),
};

/** A step can also end with a defect of Adit. */
const FAILURE_CODES: readonly string[] = [...Object.keys(STEP_ERRORS), 'INTERNAL'];

function codeType(values: readonly string[]): Type {
  return { kind: 'one_of', values, label: 'an error code' };
}

/** Items of a foreach that failed, under `fail: wait`. */
const FAILURES: Type = {
  kind: 'list',
  of: {
    kind: 'record',
    label: 'failure',
    fields: new Map<string, Field>([
      ['index', { type: INT, optional: false, summary: 'Place in the list, from 0.' }],
      ['code', { type: codeType(FAILURE_CODES), optional: false, summary: 'Error code.' }],
      ['message', { type: STRING, optional: false, summary: 'What happened.' }],
    ]),
  },
};

/** An error; `step` is a path, `hint` may be empty. */
export const ERROR: Type & { readonly kind: 'record' } = {
  kind: 'record',
  label: 'error',
  fields: new Map<string, Field>([
    ['code', { type: STRING, optional: false, summary: 'Error code.' }],
    ['message', { type: STRING, optional: false, summary: 'What happened.' }],
    ['step', { type: STRING, optional: false, summary: 'Path of the step that failed.' }],
    ['hint', { type: STRING, optional: false, summary: 'The way out, where one is known.' }],
  ]),
};

/** The error in a clause of a `catch`; `codes` are those that it takes, where it says so. */
export function caughtError(codes: readonly string[] = []): Type {
  const code = codeType(codes.length === 0 ? FAILURE_CODES : codes);
  const fields = new Map(ERROR.fields);
  fields.set('code', { type: code, optional: false, summary: 'Error code.' });
  return { ...ERROR, fields };
}

/** Outputs of a `foreach`; `collected` is the type of what it collects, null where it collects nothing. */
export function foreachOutputs(label: string, collected: Type | null): Type {
  return outputsOf(label, [
    ...(collected === null ? [] : [['results', { kind: 'list', of: collected }] as const]),
    ['failures', FAILURES],
  ]);
}

/** Outputs of a `repeat`, likewise. */
export function repeatOutputs(label: string, collected: Type | null): Type {
  return outputsOf(label, [
    ['iterations', INT],
    ...(collected === null
      ? []
      : [['last', collected] as const, ['results', { kind: 'list', of: collected }] as const]),
  ]);
}

/** One who approved. */
const VOICE: Type = {
  kind: 'record',
  label: 'approval',
  fields: new Map<string, Field>([
    ['by', { type: STRING, optional: false, summary: 'The name that the person gave.' }],
    ['at', { type: { kind: 'timestamp' }, optional: false, summary: 'When.' }],
    ['reason', { type: STRING, optional: false, summary: 'Why; empty where none was given.' }],
  ]),
};

/** Outputs of an `approve`: the fields of the answer, who gave it, and what it was given for. */
export function approveOutputs(label: string, answered: readonly InputDeclaration[]): Type {
  const { fields } = outputsOf(label, [
    ['approvals', { kind: 'list', of: VOICE }],
    ['digest', STRING],
  ]);
  const all = new Map<string, Field>(fields);
  for (const { name, type, required, default: instead, summary } of answered)
    all.set(name, { type, optional: !required && instead === undefined, summary });
  return { kind: 'record', label: labelOf(label), fields: all };
}

function outputsOf(
  label: string,
  entries: ReadonlyArray<readonly [string, Type]>,
): Type & { kind: 'record' } {
  const fields = new Map<string, Field>(
    entries.map(([name, type]) => [name, { type, optional: false, summary: '' }]),
  );
  return { kind: 'record', label: labelOf(label), fields };
}

function labelOf(label: string): string {
  return `steps.${label.replaceAll(/\W/g, '_')}`;
}
