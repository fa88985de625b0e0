/** `FILE.rehearse.yaml`: what a pipeline is rehearsed with, checked against the pipeline; every mistake is told at its place. */
import type { CheckedPipeline } from '../compiler/check.js';
import { createSource, Diagnostics, type Diagnostic, type Source } from '../compiler/diagnostic.js';
import { headOf, MapReader } from '../compiler/read-map.js';
import type { StepSignature } from '../compiler/step-signature.js';
import { decodeFile, parseYaml, type MapNode } from '../compiler/yaml.js';
import { isJsonObject, type Json, type JsonObject } from '../core/json.js';
import { withOwnWords } from './own-words.js';
import { readRules, rulesScope, type Rule, type RuleWords } from './rehearsal-rules.js';
import { isPlain, readStandIns, type StandIn } from './stand-ins.js';
import { StepNames } from './step-names.js';
import { bindInputs, readInputs, type ForBinding } from './test-inputs.js';

/** A rehearsal file without mistakes. */
export interface Rehearsal {
  /** As written: `${coordinator}` in a text stands for the address of the local coordinator. */
  readonly inputs: JsonObject;
  /** Steps that are not played, with what they give. */
  readonly standIns: readonly StandIn[];
  /** What holds of every run besides the rules of Adit. */
  readonly rules: readonly Rule[];
  readonly names: StepNames;
  /** Longest time for one run, in milliseconds. */
  readonly limitMs: number;
}

/** The pipeline that is rehearsed, and the words that rules and file know. */
export interface ForRehearsal {
  readonly pipeline: CheckedPipeline;
  /** Its text. */
  readonly source: Source;
  readonly signatures: readonly StepSignature[];
  readonly words: RuleWords;
}

export interface CompiledRehearsal {
  /** Null when there is a diagnostic. */
  readonly rehearsal: Rehearsal | null;
  /** In source order. */
  readonly diagnostics: readonly Diagnostic[];
  readonly source: Source;
}

export const REHEARSAL_KEYS = ['inputs', 'steps', 'rules', 'limit'] as const;

export const DEFAULT_LIMIT = '3m';
const DEFAULT_LIMIT_MS = 180_000;

/** The longest that one run may take: a sweep has hundreds. */
const LONGEST_LIMIT = {
  ms: 86_400_000,
  text: 'a day',
  hint: 'make what is rehearsed shorter: inputs, or what steps give, under `steps`',
};

/** The address of the coordinator that a run has: each has a local network of its own. */
const COORDINATOR = '${coordinator}';

/** True for the name of a rehearsal file. */
export function isRehearsalFile(file: string): boolean {
  return /\.rehearse\.ya?ml$/.test(file);
}

/** Checks a rehearsal file completely. `file` is its name as the author wrote it. Never throws for what a file holds. */
export function compileRehearsalFile(
  content: Uint8Array | string,
  file: string,
  known: ForRehearsal,
): CompiledRehearsal {
  const { root, diagnostics } = readRoot(content, file);
  const rehearsal = root === null ? null : readRehearsal(root, known, diagnostics);
  const told = diagnostics.list();
  return {
    rehearsal: told.length > 0 ? null : rehearsal,
    diagnostics: told.map((one) => withOwnWords(one, 'a rehearsal file', '`inputs:`')),
    source: diagnostics.source,
  };
}

function readRoot(
  content: Uint8Array | string,
  file: string,
): { readonly root: MapNode | null; readonly diagnostics: Diagnostics } {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  const text = decodeFile(bytes);
  const diagnostics = new Diagnostics(createSource(file, typeof text === 'string' ? text : ''));
  if (typeof text !== 'string') {
    diagnostics.add(text.code, { start: 0, end: 0 }, text.message, text.hint);
    return { root: null, diagnostics };
  }
  const { root, brokenAt } = parseYaml(text, diagnostics);
  // Behind a syntax error the tree is a guess.
  if (root === null || Number.isFinite(brokenAt)) return { root: null, diagnostics };
  if (root.kind === 'map') return { root, diagnostics };
  diagnostics.add(
    'VALUE_INVALID',
    headOf(root),
    'a rehearsal file is a map',
    'begin with `inputs:`, and give those of the pipeline under it',
  );
  return { root: null, diagnostics };
}

function readRehearsal(
  root: MapNode,
  { pipeline, source, signatures, words }: ForRehearsal,
  diagnostics: Diagnostics,
): Rehearsal {
  const reader = new MapReader(root, diagnostics, {
    what: 'a rehearsal file',
    keys: REHEARSAL_KEYS,
  });
  const names = new StepNames(pipeline.steps);
  const values = {};
  const written = reader.get('inputs');
  const isRead = written === undefined || isPlain(written, diagnostics);
  const given = isRead ? readInputs(written, pipeline, { diagnostics, values }) : [];
  const shared: ForBinding = {
    checked: pipeline,
    pipelineSource: source,
    diagnostics,
    // With an address in it a text may have to look like one.
    inputs: given.map((one) =>
      one.value === undefined ? one : { ...one, value: withAddress(one.value, SOME_ADDRESS) },
    ),
    missingHint: 'give it under `inputs`',
    bound: new Map(),
    told: new Set(),
  };
  if (isRead && !reader.isReported('inputs'))
    bindInputs([], shared, reader.has('inputs') ? reader.keyRange('inputs') : headOf(root));
  const standIns = readStandIns(reader.get('steps'), pipeline, {
    diagnostics,
    names,
    values,
    signatures: new Map(signatures.map((signature) => [signature.name, signature])),
  });
  const rules = readRules(reader.get('rules'), {
    scope: rulesScope(pipeline, names, words),
    names,
    taken: words.rules,
    diagnostics,
  });
  return {
    inputs: Object.fromEntries(
      given.flatMap(({ name, value }) => (value === undefined ? [] : [[name, value]])),
    ),
    standIns,
    rules,
    names,
    limitMs: reader.duration('limit', LONGEST_LIMIT) ?? DEFAULT_LIMIT_MS,
  };
}

const SOME_ADDRESS = 'http://127.0.0.1:1';

/** A value with the address of a coordinator where it says `${coordinator}`. */
export function withAddress(value: Json, coordinator: string): Json {
  if (typeof value === 'string') return value.replaceAll(COORDINATOR, coordinator);
  if (Array.isArray(value)) return value.map((one) => withAddress(one, coordinator));
  if (!isJsonObject(value)) return value;
  const members = Object.entries(value).map(([key, one]) => [key, withAddress(one, coordinator)]);
  return Object.fromEntries(members) as JsonObject;
}
