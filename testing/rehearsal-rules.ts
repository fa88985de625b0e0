/**
 * An author's own rules of a rehearsal: CEL over how a run has ended and what the coordinator has of it, typed like the
 * assertions of a test. A word that cannot be there (a status, a fault, a step) is a mistake at its place: the rule would
 * else hold for ever.
 */
import { ERROR } from '../compiler/block-types.js';
import { inputsType, type CheckedPipeline } from '../compiler/check.js';
import type { Diagnostics } from '../compiler/diagnostic.js';
import { headOf, NAME_PATTERN } from '../compiler/read-map.js';
import { Facts } from '../compiler/facts.js';
import { FileNames, Visible, type Scope } from '../compiler/scope.js';
import { BOOL, INT, STRING, type Field, type Type } from '../compiler/types.js';
import type { SourceNode } from '../compiler/yaml.js';
import type { JsonObject } from '../core/json.js';
import { isInside } from '../core/plan-paths.js';
import type { RunStatus, StepStatus } from '../core/run-state.js';
import type { ErrorReport } from '../core/error.js';
import { certain, outputsField, readAssertion, RUN_STATUSES, STEP_STATUSES } from './assertions.js';
import { falsehoodOf } from './check-assertions.js';
import { matches, type StepNames } from './step-names.js';
import type { Assertion } from './test-file.js';

export interface Rule {
  readonly name: string;
  readonly assertion: Assertion;
}

/** Words of the rehearsal itself. */
export interface RuleWords {
  /** Names of all faults. */
  readonly faults: readonly string[];
  /** Names of the rules that Adit has. */
  readonly rules: readonly string[];
}

const CLAIM_STATUSES = ['active', 'submitted', 'cancelled', 'expired'] as const;

const EFFECTS = ['claim', 'submission', 'claim cancellation', 'publication'] as const;

function record(label: string, types: { readonly [name: string]: Type }): Type {
  const fields = Object.entries(types).map(([name, type]): [string, Field] => [
    name,
    { type, optional: false, summary: '' },
  ]);
  return { kind: 'record', label, fields: new Map(fields) };
}

function listOf(label: string, types: { readonly [name: string]: Type }): Type {
  return { kind: 'list', of: record(label, types) };
}

/** What rules see; `ruleFacts` gives the values. */
export function rulesScope(
  pipeline: CheckedPipeline,
  names: StepNames,
  { faults }: RuleWords,
): Scope {
  const known = [...new Set(names.all.map(({ path }) => names.nameOf(path)))];
  // What no step of the file has done is of the step ``.
  const step: Type = { kind: 'one_of', values: ['', ...known] };
  return {
    inputs: certain(inputsType(pipeline.inputs)),
    run: record('run', {}),
    names: new Map<string, Type>([
      ['inputs', certain(inputsType(pipeline.inputs))],
      ['status', { kind: 'one_of', values: [...RUN_STATUSES, 'running'] }],
      ['error', ERROR],
      ['outputs', outputsField(pipeline)],
      ['ran', { kind: 'map', of: BOOL }],
      ['states', { kind: 'map', of: { kind: 'one_of', values: STEP_STATUSES } }],
      ['faults', { kind: 'list', of: { kind: 'one_of', values: faults } }],
      [
        'claims',
        listOf('claim', { id: STRING, status: { kind: 'one_of', values: CLAIM_STATUSES } }),
      ],
      [
        'submissions',
        listOf('submission', {
          id: STRING,
          claim: STRING,
          task: STRING,
          step,
          path: STRING,
          passed: BOOL,
        }),
      ],
      [
        'effects',
        listOf('effect', {
          step,
          path: STRING,
          what: { kind: 'one_of', values: EFFECTS },
          settled: BOOL,
          alarms: { kind: 'list', of: STRING },
        }),
      ],
      ['programs', listOf('program', { step, path: STRING, ended: BOOL, failed: BOOL })],
      ['counted', listOf('counter', { name: STRING, times: INT })],
    ]),
    namesOnly: true,
    visible: new Visible(),
    facts: new Facts(),
    file: new FileNames(new Map(), new Set()),
  };
}

/** The rules of a file: a map from names to expressions. */
export function readRules(
  node: SourceNode | undefined,
  {
    scope,
    names,
    taken,
    diagnostics,
  }: {
    readonly scope: Scope;
    readonly names: StepNames;
    readonly taken: readonly string[];
    readonly diagnostics: Diagnostics;
  },
): Rule[] {
  if (node === undefined || (node.kind === 'scalar' && node.value === null)) return [];
  if (node.kind !== 'map') {
    diagnostics.add(
      'VALUE_INVALID',
      headOf(node),
      '`rules` is a map from names to what must be so',
      "for instance `claims_once: 'size(claims) <= 1'`",
    );
    return [];
  }
  const rules = node.entries.flatMap(({ key, keyRange, value }) => {
    if (!NAME_PATTERN.test(key))
      diagnostics.add(
        'ID_INVALID',
        keyRange,
        `\`${key}\` is not a name for a rule`,
        'use letters, digits and `_`, not beginning with a digit, at most 64',
      );
    else if (taken.includes(key))
      diagnostics.add(
        'VALUE_INVALID',
        keyRange,
        `\`${key}\` is a rule that every rehearsal has`,
        'give yours another name; a rule of Adit cannot be replaced',
      );
    const assertion = readAssertion(value, scope, names, diagnostics);
    return assertion === null ? [] : [{ name: key, assertion }];
  });
  scope.file.report(diagnostics);
  return rules;
}

/** How a rehearsed run went, and what the other side has of it. Paths are those of steps. */
export interface RehearsedRun {
  readonly inputs: JsonObject;
  readonly status: RunStatus;
  readonly error: ErrorReport | undefined;
  readonly outputs: JsonObject;
  readonly steps: readonly {
    readonly path: string;
    readonly status: StepStatus;
    readonly startedAt?: string;
    readonly endedAt?: string;
  }[];
  /** Those that have happened. */
  readonly faults: readonly string[];
  readonly claims: readonly { readonly id: string; readonly status: string }[];
  readonly submissions: readonly {
    readonly id: string;
    /** Id of its claim; null where it names none. */
    readonly claimId: string | null;
    readonly taskId: string;
    /** Null where no effect of the run has made it. */
    readonly path: string | null;
    readonly passed: boolean;
  }[];
  readonly effects: readonly {
    readonly path: string;
    readonly what: string;
    readonly settled: boolean;
    readonly alarms: readonly string[];
  }[];
  readonly programs: readonly {
    readonly path: string;
    readonly ended: boolean;
    readonly failed: boolean;
  }[];
  readonly counted: { readonly [name: string]: number };
}

/** The rules that do not hold of a run, with what their parts are. */
export function brokenRules(
  rules: readonly Rule[],
  names: StepNames,
  run: RehearsedRun,
): { readonly rule: string; readonly message: string }[] {
  if (rules.length === 0) return [];
  const facts = factsOf(names, run);
  return rules.flatMap(({ name, assertion }) => {
    const falsehood = falsehoodOf(assertion, facts);
    if (falsehood === null) return [];
    const { message, details } = falsehood;
    const because = details.length === 0 ? '' : ` (${details.join('; ')})`;
    return [
      { rule: name, message: `${message.charAt(0).toUpperCase()}${message.slice(1)}${because}.` },
    ];
  });
}

function factsOf(names: StepNames, run: RehearsedRun): JsonObject {
  const { status, error, steps } = run;
  // Maps, since an id may be a word that every object knows.
  const ran = new Map<string, boolean>();
  const states = new Map<string, StepStatus>();
  for (const step of steps) {
    ran.set(step.path, hasBegun(step, steps));
    states.set(step.path, step.status);
  }
  for (const named of names.all) {
    const { path, step, turns } = named;
    if (step?.id === undefined || names.find(step.id)?.named !== named) continue;
    const mine = steps.filter((one) => matches(path, one.path));
    ran.set(
      step.id,
      mine.some((one) => ran.get(one.path) === true),
    );
    if (turns.length === 0) states.set(step.id, mine[0]?.status ?? 'pending');
  }
  const ofStep = (path: string | null): { readonly step: string; readonly path: string } => ({
    step: path === null || names.at(path) === undefined ? '' : names.nameOf(path),
    path: path ?? '',
  });
  return {
    inputs: run.inputs,
    status,
    error: {
      code: error?.code ?? '',
      message: error?.message ?? '',
      step: error?.step ?? '',
      hint: error?.hint ?? '',
    },
    outputs: run.outputs,
    ran: Object.fromEntries(ran),
    states: Object.fromEntries(states),
    faults: [...run.faults],
    claims: run.claims.map(({ id, status: how }) => ({ id, status: how })),
    submissions: run.submissions.map(({ id, claimId, taskId, path, passed }) => ({
      id,
      claim: claimId ?? '',
      task: taskId,
      ...ofStep(path),
      passed,
    })),
    effects: run.effects.map(({ path, what, settled, alarms }) => ({
      ...ofStep(path),
      what,
      settled,
      alarms: [...alarms],
    })),
    programs: run.programs.map(({ path, ended, failed }) => ({ ...ofStep(path), ended, failed })),
    counted: Object.entries(run.counted).map(([name, times]) => ({ name, times })),
  };
}

/** What was cancelled in the moment of its beginning has done nothing. */
function hasBegun(
  { path, status, startedAt, endedAt }: RehearsedRun['steps'][number],
  steps: RehearsedRun['steps'],
): boolean {
  if (status === 'pending' || status === 'skipped') return false;
  if (status !== 'cancelled' || startedAt !== endedAt) return true;
  return steps.some((one) => isInside(one.path, path) && one.status !== 'pending');
}
