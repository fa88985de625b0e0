/** A test file to tests that are ready to run, or to everything that is wrong with it. */
import type { CheckedPipeline } from '../compiler/check.js';
import { compilePipeline } from '../compiler/compile.js';
import { createSource, Diagnostics, type Diagnostic, type Source } from '../compiler/diagnostic.js';
import { NO_FILES, type PipelineFiles } from '../compiler/pipeline-files.js';
import { headOf, MapReader } from '../compiler/read-map.js';
import type { Scope } from '../compiler/scope.js';
import type { StepSignature } from '../compiler/step-signature.js';
import { decodeFile, parseYaml, type SourceNode } from '../compiler/yaml.js';
import { isTimestamp } from '../core/duration.js';
import { assertionScope, readAssertions } from './assertions.js';
import { readApprovals } from './approvals.js';
import { withOwnWords } from './own-words.js';
import { readDecisions, readStubs, type Reading } from './outcomes.js';
import { exactness, StepNames } from './step-names.js';
import type { TestCase, TestFile } from './test-file.js';
import { bindInputs, readInputs, readValues, type ForBinding } from './test-inputs.js';

/** What reads the files that a test file names: bytes, or why there are none, as the rest of a sentence. */
export type ReadNamedFile = (
  name: string,
) =>
  | { readonly file: string; readonly content: Uint8Array }
  | { readonly file: string; readonly problem: string };

export interface CompiledTests {
  /** Null when there is a diagnostic. */
  readonly file: TestFile | null;
  /** Every mistake, of the test file in source order, then of the pipeline, each with the text that it is about. */
  readonly mistakes: readonly {
    readonly source: Source;
    readonly diagnostics: readonly Diagnostic[];
  }[];
  /** The text of the test file; empty when it is not text. */
  readonly source: Source;
  /** The files that were read beside the test file. */
  readonly files: readonly string[];
}

/** When a run begins that does not say when. */
export const DEFAULT_NOW = '2026-01-01T00:00:00Z';

export const MAX_TESTS = 10_000;

export const TEST_FILE_KEYS = [
  'pipeline',
  'now',
  'inputs',
  'values',
  'steps',
  'decisions',
  'approvals',
  'tests',
] as const;
export const TEST_KEYS = [
  'name',
  'now',
  'inputs',
  'steps',
  'decisions',
  'approvals',
  'cancel',
  'expect',
] as const;

/**
 * Checks a test file completely, and compiles its pipeline once, with the files that it calls, which `called` reads.
 * `file` is its name as the author wrote it. Never throws for what a file holds.
 */
export function compileTestFile(
  content: Uint8Array | string,
  file: string,
  signatures: readonly StepSignature[],
  read: ReadNamedFile,
  called: PipelineFiles = NO_FILES,
): CompiledTests {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  const text = decodeFile(bytes);
  const source = createSource(file, typeof text === 'string' ? text : '');
  const diagnostics = new Diagnostics(source);
  const only = (): CompiledTests => ({
    file: null,
    mistakes: [
      {
        source,
        diagnostics: diagnostics.list().map((one) => withOwnWords(one, 'a test file', '`tests:`')),
      },
    ],
    source,
    files: [],
  });
  if (typeof text !== 'string') {
    diagnostics.add(text.code, { start: 0, end: 0 }, text.message, text.hint);
    return only();
  }
  const { root, brokenAt } = parseYaml(text, diagnostics);
  // Behind a syntax error the tree is a guess.
  if (root === null || Number.isFinite(brokenAt)) return only();
  if (root.kind !== 'map') {
    diagnostics.add(
      'VALUE_INVALID',
      headOf(root),
      'a test file is a map',
      'begin with `tests:`, and list them under it',
    );
    return only();
  }
  const reader = new MapReader(root, diagnostics, { what: 'a test file', keys: TEST_FILE_KEYS });
  const pipeline = readPipeline(reader, file, signatures, { read, called }, diagnostics);
  const tests = reader.required('tests', 'list the tests under `tests:`');
  const compiled =
    pipeline.checked === null
      ? null
      : readTests(
          reader,
          tests,
          { ...pipeline, checked: pipeline.checked },
          signatures,
          diagnostics,
        );
  const own = diagnostics.list();
  const mistakes = [
    ...(own.length === 0 ? [] : [{ source, diagnostics: own }]),
    ...pipeline.mistakes,
  ];
  return {
    file: mistakes.length > 0 ? null : compiled,
    mistakes,
    source,
    files: pipeline.files,
  };
}

interface NamedPipeline {
  /** Null when it cannot be read or has mistakes. */
  readonly checked: CheckedPipeline | null;
  readonly source: Source;
  readonly mistakes: CompiledTests['mistakes'];
  /** It, and those that it calls. */
  readonly files: readonly string[];
}

function readPipeline(
  reader: MapReader,
  file: string,
  signatures: readonly StepSignature[],
  { read, called }: { readonly read: ReadNamedFile; readonly called: PipelineFiles },
  diagnostics: Diagnostics,
): NamedPipeline {
  const none = { checked: null, source: createSource('', ''), mistakes: [], files: [] };
  const written = reader.text('pipeline')?.value;
  if (reader.isReported('pipeline') || (reader.has('pipeline') && written === undefined))
    return none;
  const name = typeof written === 'string' ? written : pipelineBeside(file);
  if (name === null) {
    reader.required('pipeline', 'name the pipeline file: `pipeline: ./my-round.yaml`');
    return none;
  }
  const found = read(name);
  if ('problem' in found) {
    diagnostics.add(
      'VALUE_INVALID',
      reader.has('pipeline')
        ? headOf(reader.get('pipeline') ?? reader.node)
        : reader.keyRange('tests'),
      `the pipeline file ${found.file} cannot be read: ${found.problem}`,
      'name it, relative to this file: `pipeline: ./my-round.yaml`',
    );
    return { ...none, files: [found.file] };
  }
  const { pipeline, source, files } = compilePipeline(
    found.content,
    found.file,
    signatures,
    called,
  );
  // Its warnings are no matter of its tests: `adit check` of the pipeline tells them.
  const mistakes = files.flatMap((one) => {
    const errors = one.diagnostics.filter(({ severity }) => severity === 'error');
    return errors.length === 0 ? [] : [{ source: one.source, diagnostics: errors }];
  });
  const names = files.map((one) => one.source.file);
  return { checked: pipeline, source, mistakes, files: [...new Set([found.file, ...names])] };
}

/** `x.test.yaml` tests `x.yaml`; null for another name. */
function pipelineBeside(file: string): string | null {
  const name = file.slice(Math.max(file.lastIndexOf('/'), file.lastIndexOf('\\')) + 1);
  const match = /^(.+)\.test\.(ya?ml)$/.exec(name);
  return match === null ? null : `${match[1] ?? ''}.${match[2] ?? ''}`;
}

/** True for the name of a test file. */
export function isTestFile(file: string): boolean {
  return /\.test\.ya?ml$/.test(file);
}

function readTests(
  reader: MapReader,
  tests: SourceNode | undefined,
  named: NamedPipeline & { readonly checked: CheckedPipeline },
  signatures: readonly StepSignature[],
  diagnostics: Diagnostics,
): TestFile | null {
  const names = new StepNames(named.checked.steps);
  const values = readValues(reader.get('values'), diagnostics);
  const reading: Reading = {
    diagnostics,
    names,
    signatures: new Map(signatures.map((signature) => [signature.name, signature])),
    values,
  };
  const scope = assertionScope(named.checked, names);
  const shared: Shared = {
    checked: named.checked,
    pipelineSource: named.source,
    diagnostics,
    reading,
    scope,
    now: readNow(reader, diagnostics) ?? Date.parse(DEFAULT_NOW),
    inputs: readInputs(reader.get('inputs'), named.checked, reading),
    stubs: readStubs(reader.get('steps'), false, reading),
    decisions: readDecisions(reader.get('decisions'), false, reading),
    approvals: readApprovals(reader.get('approvals'), false, reading),
    missingHint: 'give it under `inputs` of the test, or of the file for all tests',
    bound: new Map(),
    told: new Set(),
  };
  const cases = readCases(tests, shared);
  scope.file.report(diagnostics);
  return {
    source: diagnostics.source,
    pipeline: named.checked,
    names,
    signatures: reading.signatures,
    values,
    tests: cases,
  };
}

/** What the file says for all of its tests. */
interface Shared extends ForBinding {
  readonly reading: Reading;
  readonly scope: Scope;
  readonly now: number;
  readonly stubs: TestCase['stubs'];
  readonly decisions: TestCase['decisions'];
  readonly approvals: TestCase['approvals'];
}

function readCases(node: SourceNode | undefined, shared: Shared): TestCase[] {
  const { diagnostics } = shared;
  if (node === undefined) return [];
  if (node.kind !== 'list' || node.items.length === 0 || node.items.length > MAX_TESTS) {
    diagnostics.add(
      'VALUE_INVALID',
      headOf(node),
      node.kind === 'list' && node.items.length > 0
        ? `\`tests\` has ${node.items.length} tests; at most ${MAX_TESTS} are run`
        : '`tests` is a list of at least one test',
      'each has a `name` and what to `expect`',
    );
    return [];
  }
  const places = new Map<string, number>();
  return node.items.flatMap((item) => {
    const test = readCase(item, shared);
    if (test === null) return [];
    const before = places.get(test.name);
    if (before !== undefined) {
      diagnostics.add(
        'VALUE_INVALID',
        test.nameRange,
        `a test of this name is already there, on line ${lineOf(diagnostics.source, before)}`,
        'say in the name how they differ',
      );
    }
    places.set(test.name, test.nameRange.start);
    return [test];
  });
}

function lineOf({ lineStarts }: Source, offset: number): number {
  return lineStarts.filter((start) => start <= offset).length;
}

function readCase(node: SourceNode, shared: Shared): TestCase | null {
  const { reading, scope, checked, diagnostics } = shared;
  const { names } = reading;
  if (node.kind !== 'map') {
    if (node.kind === 'scalar' && node.broken === true) return null;
    diagnostics.add('VALUE_INVALID', headOf(node), 'a test is a map', 'with `name` and `expect`');
    return null;
  }
  const reader = new MapReader(node, diagnostics, { what: 'a test', keys: TEST_KEYS });
  reader.required('name', 'say in a sentence what is so');
  const nameNode = reader.text('name');
  const name = String(nameNode?.value ?? '').trim();
  const nameRange = nameNode?.range ?? headOf(node);
  const now = readNow(reader, diagnostics) ?? shared.now;
  const cancelAfterMs = reader.duration('cancel') ?? null;
  const inputs = readInputs(reader.get('inputs'), checked, reading);
  const stubs = readStubs(reader.get('steps'), true, reading);
  const decisions = readDecisions(reader.get('decisions'), true, reading);
  const approvals = readApprovals(reader.get('approvals'), true, reading);
  const expected = reader.required('expect', "for instance `expect: [status == 'succeeded']`");
  const assertions =
    expected === undefined ? [] : readAssertions(expected, scope, names, diagnostics);
  const place = reader.has('inputs') ? reader.keyRange('inputs') : nameRange;
  const plan = bindInputs(inputs, shared, place);
  if (plan === null) return null;
  return {
    name,
    nameRange,
    plan,
    startsAtMs: now,
    cancelAfterMs,
    stubs: [...byExactness(stubs), ...byExactness(shared.stubs)],
    decisions: [...byExactness(decisions), ...byExactness(shared.decisions)],
    approvals: [...byExactness(approvals), ...byExactness(shared.approvals)],
    assertions,
  };
}

function byExactness<Of extends { readonly pattern: string }>(scripts: readonly Of[]): Of[] {
  return scripts.toSorted((a, b) => exactness(b.pattern) - exactness(a.pattern));
}

function readNow(reader: MapReader, diagnostics: Diagnostics): number | null {
  const node = reader.text('now');
  if (node === undefined) return null;
  const text = String(node.value);
  if (isTimestamp(text)) return Date.parse(text);
  diagnostics.add(
    'VALUE_INVALID',
    node.range,
    '`now` is a time',
    'write ISO 8601 with a zone, such as `2026-01-31T12:00:00Z`',
  );
  return null;
}
