/** What a test says of a step, `steps` and `decisions`: every mistake in it is told at its place. */
import type { DiagnosticCode, Diagnostics } from '../compiler/diagnostic.js';
import { headOf, MapReader } from '../compiler/read-map.js';
import type { StepSignature } from '../compiler/step-signature.js';
import { listNames, suggest, suggestHint } from '../compiler/suggest.js';
import type { Entry, SourceNode } from '../compiler/yaml.js';
import { asksPerson, isStepErrorCode, STEP_ERRORS } from '../core/error.js';
import type { JsonObject } from '../core/json.js';
import { codesOf, DEFECT, stopsRun } from './step-codes.js';
import { kindOf, type StepNames } from './step-names.js';
import { readOutputs, type Target } from './step-outputs.js';
import type { DecisionScript, DecisionTurn, Outcome, Script, Stub } from './test-file.js';
import { holdsVerdict } from './written-type.js';

/** What is needed to read a part of a test file. */
export interface Reading {
  readonly diagnostics: Diagnostics;
  readonly names: StepNames;
  readonly signatures: ReadonlyMap<string, StepSignature>;
  readonly values: JsonObject;
}

/** `own` are those of a test, which must be used. */
export function readStubs(
  node: SourceNode | undefined,
  own: boolean,
  reading: Reading,
): readonly Stub[] {
  const find = (entry: Entry): Found<Target> | null => findTarget(entry, 'steps', reading);
  return readScripts(node, own, 'steps', reading, find, readOutcome);
}

export function readDecisions(
  node: SourceNode | undefined,
  own: boolean,
  reading: Reading,
): readonly DecisionScript[] {
  const find = (entry: Entry): Found<Target> | null => findTarget(entry, 'decisions', reading);
  return readScripts(node, own, 'decisions', reading, find, readDecision);
}

type Found<Of> = Of & { readonly pattern: string };

const EXAMPLES = {
  steps: 'for instance `claim: { error: COORDINATOR_CONFLICT }`',
  decisions: 'for instance `submit: retry`',
  approvals: 'for instance `release: approve`',
} as const;

/** Reads a map from steps to what is said of them; `find` tells of a name that cannot stand there. */
export function readScripts<Of, Turn>(
  node: SourceNode | undefined,
  own: boolean,
  what: keyof typeof EXAMPLES,
  reading: Reading,
  find: (entry: Entry) => Found<Of> | null,
  read: (node: SourceNode, target: Of, reading: Reading) => Turn | null,
): Script<Turn>[] {
  const { diagnostics } = reading;
  if (node === undefined || isNothing(node)) return [];
  if (node.kind !== 'map') {
    diagnostics.add(
      'VALUE_INVALID',
      headOf(node),
      `\`${what}\` is a map from steps to what becomes of them`,
      EXAMPLES[what],
    );
    return [];
  }
  const seen = new Map<string, string>();
  return node.entries.flatMap((entry) => {
    const target = find(entry);
    if (target === null) return [];
    const { pattern } = target;
    const twin = seen.get(pattern);
    if (twin !== undefined) {
      diagnostics.add(
        'VALUE_INVALID',
        entry.keyRange,
        `\`${entry.key}\` and \`${twin}\` are the same step`,
        'keep one of them',
      );
    }
    seen.set(pattern, entry.key);
    const nodes = entry.value.kind === 'list' ? entry.value.items : [entry.value];
    if (nodes.length === 0) {
      diagnostics.add(
        'VALUE_INVALID',
        headOf(entry.value),
        `\`${entry.key}\` lists nothing`,
        'give at least one, or remove it',
      );
    }
    const turns = nodes.flatMap((turn) => read(turn, target, reading) ?? []);
    return [
      {
        name: entry.key,
        nameRange: entry.keyRange,
        pattern,
        own,
        turns,
        always: entry.value.kind !== 'list',
      },
    ];
  });
}

/** The step that a key names; null, and told, when the pipeline has none. */
export function findStep(
  { key, keyRange }: Entry,
  { names, diagnostics }: Pick<Reading, 'names' | 'diagnostics'>,
): ReturnType<StepNames['find']> {
  const found = names.find(key);
  if (found === null) {
    const message = `the pipeline has no step \`${key}\``;
    diagnostics.add('NAME_UNKNOWN', keyRange, message, names.hint(key));
  }
  return found;
}

function findTarget(
  entry: Entry,
  what: 'steps' | 'decisions',
  reading: Reading,
): Found<Target> | null {
  const { key, keyRange } = entry;
  const { signatures, diagnostics } = reading;
  const found = findStep(entry, reading);
  if (found === null) return null;
  const { named, pattern } = found;
  const { step } = named;
  const signature = step?.kind === 'step' ? signatures.get(step.uses) : undefined;
  if (step?.kind === 'step' && signature !== undefined) return { step, signature, pattern };
  diagnostics.add(
    'VALUE_INVALID',
    keyRange,
    `\`${key}\` is ${kindOf(named)}, which ${what === 'steps' ? 'runs as it is' : step?.kind === 'approve' ? 'takes no decision' : 'asks nobody'}`,
    what === 'steps'
      ? step?.kind === 'approve'
        ? 'answers to an approval stand under `approvals`'
        : 'only steps with `uses` are replaced; name those inside it'
      : step?.kind === 'approve'
        ? 'answers to an approval stand under `approvals`'
        : 'decisions are for steps with `uses`',
  );
  return null;
}

function isNothing(node: SourceNode): boolean {
  return node.kind === 'scalar' && node.value === null;
}

const ENDS = ['outputs', 'error', 'stop'] as const;
const OF_ERRORS = ['message', 'hint', 'retry_after', 'ask_for'] as const;

export const OUTCOME_KEYS = [...ENDS, 'delay', ...OF_ERRORS] as const;

export const DECISION_KEYS = ['decide', 'value', 'after'] as const;

function readOutcome(node: SourceNode, target: Target, reading: Reading): Outcome | null {
  const { diagnostics } = reading;
  if (node.kind !== 'map') {
    if (node.kind === 'scalar' && node.broken === true) return null;
    diagnostics.add(
      'VALUE_INVALID',
      headOf(node),
      'an outcome is a map with `outputs`, `error` or `stop`',
      codeHint(node, target.signature),
    );
    return null;
  }
  const reader = new MapReader(node, diagnostics, {
    what: 'an outcome',
    keys: OUTCOME_KEYS,
    misplaced: new Map(
      Object.keys(target.signature.output.shape).map((name) => [
        name,
        `outputs stand under \`outputs\`: \`{ outputs: { ${name}: … } }\``,
      ]),
    ),
  });
  const delayMs = reader.duration('delay') ?? 0;
  const given = ENDS.filter((key) => reader.has(key));
  const [end, ...more] = given;
  if (end === undefined) {
    const isTold = ENDS.some((key) => reader.isReported(key));
    const misplaced = Object.keys(target.signature.output.shape);
    if (!isTold && !node.entries.some(({ key }) => misplaced.includes(key)))
      diagnostics.add(
        'KEY_MISSING',
        headOf(node),
        'an outcome needs `outputs`, `error` or `stop`',
        'say what the step gives, or with which code it ends',
      );
    return null;
  }
  for (const key of more) {
    diagnostics.add(
      'VALUE_INVALID',
      reader.keyRange(key),
      `a step that gives \`${end}\` gives no \`${key}\``,
      'for one after the other write a list of outcomes',
    );
  }
  const value = reader.get(end);
  if (value === undefined) return null;
  if (end === 'outputs') {
    for (const key of OF_ERRORS.filter((name) => reader.has(name)))
      diagnostics.add(
        'VALUE_INVALID',
        reader.keyRange(key),
        `\`${key}\` belongs to an \`error\` or a \`stop\``,
      );
    const outputs = readOutputs(value, target, { name: 'outputs', readsStart: true }, reading);
    if (outputs === null) return null;
    return { range: headOf(node), delayMs, end: { kind: 'outputs', node: value, ...outputs } };
  }
  const code = readCode(value, end, target.signature, diagnostics);
  const askForMs = reader.duration('ask_for') ?? null;
  const retryAfterMs = reader.duration('retry_after') ?? null;
  const message = textOf(reader, 'message');
  const hint = textOf(reader, 'hint');
  if (code === null) return null;
  const asks =
    asksPerson(code) || target.signature.effect === true || target.step.options.onFailure === 'ask';
  if (askForMs !== null && !asks) {
    diagnostics.add(
      'VALUE_INVALID',
      reader.keyRange('ask_for'),
      `nobody is asked about ${code} of this step`,
      'it takes a code that asks a person, an effect, or `on_failure: ask`',
    );
  }
  return {
    range: headOf(node),
    delayMs,
    end: { kind: 'error', code, message, hint, retryAfterMs, askForMs },
  };
}

function textOf(reader: MapReader, key: string): string | null {
  const value = reader.text(key)?.value;
  return typeof value === 'string' ? value : null;
}

/** A code alone is what many write first. */
function codeHint(node: SourceNode, signature: StepSignature): string {
  const word = node.kind === 'scalar' && typeof node.value === 'string' ? node.value : '';
  if (codesOf(signature).includes(word))
    return `write \`{ ${stopsRun(word) ? 'stop' : 'error'}: ${word} }\``;
  return 'for instance `{ error: STEP_TIMEOUT }`';
}

function readCode(
  node: SourceNode,
  key: 'error' | 'stop',
  signature: StepSignature,
  diagnostics: Diagnostics,
): string | null {
  const code = node.kind === 'scalar' && typeof node.value === 'string' ? node.value : null;
  const report = (at: DiagnosticCode, message: string, hint: string): null => {
    diagnostics.add(at, headOf(node), message, hint);
    return null;
  };
  const able = codesOf(signature);
  const stops = able.filter(stopsRun);
  if (code === null)
    return report('VALUE_INVALID', `\`${key}\` is an error code`, `for instance \`${able[0]}\``);
  if (code !== DEFECT && !isStepErrorCode(code))
    return report(
      'ERROR_CODE_UNKNOWN',
      `there is no error code \`${code}\``,
      suggestHint(code, suggest(code, able) === null ? Object.keys(STEP_ERRORS) : able, ''),
    );
  if (!able.includes(code))
    return report(
      'VALUE_INVALID',
      `${signature.name} never ends with \`${code}\``,
      `it can end with ${listNames(key === 'stop' && stops.length > 0 ? stops : able)}`,
    );
  if (key === 'stop' && !stopsRun(code))
    return report(
      'VALUE_INVALID',
      `\`${code}\` does not stop a run`,
      [
        `write \`error: ${code}\``,
        ...(stops.length === 0 ? [] : [`to stop it there is ${listNames(stops)}`]),
      ].join('; '),
    );
  if (key === 'error' && stopsRun(code))
    return report(
      'VALUE_INVALID',
      `\`${code}\` stops the run: it is a decision, not a failure`,
      `write \`stop: ${code}\``,
    );
  return code;
}

function readDecision(node: SourceNode, target: Target, reading: Reading): DecisionTurn | null {
  const { diagnostics } = reading;
  const range = headOf(node);
  if (node.kind === 'scalar' && (node.value === 'retry' || node.value === 'fail'))
    return { range, afterMs: 0, action: node.value };
  if (node.kind !== 'map') {
    if (node.kind === 'scalar' && node.broken === true) return null;
    const word = node.kind === 'scalar' ? String(node.value) : '';
    diagnostics.add(
      'VALUE_INVALID',
      range,
      'a decision is `retry`, `fail`, or a map with `decide` or `value`',
      word === '' ? '' : suggestHint(word, ['retry', 'fail'], ''),
    );
    return null;
  }
  const reader = new MapReader(node, diagnostics, {
    what: 'a decision',
    keys: DECISION_KEYS,
  });
  const afterMs = reader.duration('after') ?? 0;
  const decide = reader.get('decide');
  const value = reader.get('value');
  if (value !== undefined && decide !== undefined) {
    diagnostics.add(
      'VALUE_INVALID',
      reader.keyRange('decide'),
      '`decide` and `value` are two decisions',
      'keep one; for one after the other write a list',
    );
    return null;
  }
  if (value !== undefined) {
    if (holdsVerdict(target.signature)) {
      diagnostics.add(
        'VALUE_INVALID',
        reader.keyRange('value'),
        `nobody can give the outputs of ${target.signature.name}: they are proof that the gate was passed`,
        'decide `retry` or `fail`',
      );
      return null;
    }
    const outputs = readOutputs(value, target, { name: 'value', readsStart: false }, reading);
    return outputs?.value === undefined
      ? null
      : { range, afterMs, action: 'value', outputs: outputs.value };
  }
  const word = decide?.kind === 'scalar' ? decide.value : null;
  if (word === 'retry' || word === 'fail') return { range, afterMs, action: word };
  if (decide !== undefined) {
    diagnostics.add('VALUE_INVALID', headOf(decide), '`decide` is `retry` or `fail`');
  } else if (!reader.isReported('decide') && !reader.isReported('value')) {
    diagnostics.add(
      'KEY_MISSING',
      range,
      'a decision needs `decide` or `value`',
      'for instance `{ decide: retry, after: 10m }`',
    );
  }
  return null;
}
