import type { Diagnostics, Range } from './diagnostic.js';
import { parseApprove } from './parse-approve.js';
import { parseAs, parseId } from './parse-names.js';
import { parseTryTimeout } from './parse-finally-timeout.js';
import { MISPLACED_INPUTS, parseCodes, parseOptions } from './parse-options.js';
import type { Branch, CatchClause, Located, Step } from './pipeline.js';
import { headOf, MapReader } from './read-map.js';
import { COMMON, idsIn, KEYS, kindOf, type Kind } from './step-kind.js';
import type { MapNode, ScalarNode, SourceNode } from './yaml.js';

const NEEDS_MISPLACED: readonly (readonly [string, string])[] = [
  [
    'needs',
    'only the branches of a `parallel` have it; elsewhere steps run in the order of the file',
  ],
];

const CALL_MISPLACED: readonly (readonly [string, string])[] = [
  'timeout',
  'attempt_timeout',
  'heartbeat',
  'retry',
  'on',
  'on_failure',
].map((key) => [key, 'give it to the steps of the called file: each has options of its own']);

/** Keys that belong into the map behind the key of the step's kind. */
const INSIDE: Partial<Record<Kind, readonly string[]>> = {
  repeat: ['limit', 'every', 'until'],
  approve: ['show', 'fields', 'expires', 'quorum', 'summary'],
};

function insideOf(kind: Kind): (readonly [string, string])[] {
  return (INSIDE[kind] ?? []).map((key) => [key, `write it inside: \`${kind}: { ${key}: … }\``]);
}

/** What only a step with `uses` has: a block has it by its steps. */
const USES_ONLY: readonly (readonly [string, string])[] = KEYS.step
  .filter((key) => key !== 'uses')
  .map((key) => [
    key,
    ['timeout', 'attempt_timeout', 'heartbeat', 'retry', 'on_failure'].includes(key)
      ? 'only a step with `uses` has it: write it there, or for all steps in `defaults` of the file'
      : 'only a step with `uses` has it: write it there',
  ]);

/** The steps of one list. `what` names it in messages. */
export function parseSteps(node: SourceNode, what: string, diagnostics: Diagnostics): Step[] {
  return parseBranches(node, what, diagnostics, false).map(({ step }) => step);
}

/** The steps of one list, with what they need of each other where `mayNeed`. */
function parseBranches(
  node: SourceNode,
  what: string,
  diagnostics: Diagnostics,
  mayNeed: boolean,
): Branch[] {
  if (node.kind !== 'list') {
    diagnostics.add(
      'VALUE_INVALID',
      headOf(node),
      `\`${what}\` is a list of steps`,
      'begin each step with `- `',
    );
    return [];
  }
  if (node.items.length === 0) {
    diagnostics.add(
      'VALUE_INVALID',
      node.range,
      `\`${what}\` has no steps`,
      'add one, or remove the key',
    );
  }
  return node.items.map((item, index) => parseStep(item, index, diagnostics, mayNeed));
}

function parseStep(
  node: SourceNode,
  index: number,
  diagnostics: Diagnostics,
  mayNeed: boolean,
): Branch {
  const key = `[${index}]`;
  if (node.kind === 'scalar' && node.broken === true)
    return { step: { kind: 'broken', key, range: node.range, ids: [] }, needs: [] };
  if (node.kind !== 'map') {
    diagnostics.add(
      'VALUE_INVALID',
      headOf(node),
      'a step is a map',
      node.kind === 'list'
        ? 'steps that belong together stand in a block, such as `try: [ … ]`'
        : 'for instance `- { id: discover, uses: coordinator.discover, with: { slug: my-task } }`',
    );
    return { step: { kind: 'broken', key, range: headOf(node), ids: [] }, needs: [] };
  }
  const kind = kindOf(node, diagnostics);
  if (kind === null) {
    return { step: { kind: 'broken', key, range: headOf(node), ids: idsIn(node) }, needs: [] };
  }
  if (typeof kind === 'object') return parseStep(kind, index, diagnostics, mayNeed);
  const reader = new MapReader(node, diagnostics, {
    what:
      kind === 'step'
        ? 'a step'
        : `${kind === 'if' || kind === 'approve' ? 'an' : 'a'} \`${kind}\` step`,
    keys: [...COMMON, ...KEYS[kind], ...(mayNeed ? ['needs'] : [])],
    misplaced: new Map([
      ...(mayNeed ? [] : NEEDS_MISPLACED),
      ...(kind === 'step' ? MISPLACED_INPUTS : kind === 'pipeline' ? CALL_MISPLACED : USES_ONLY),
      ...insideOf(kind),
    ]),
  });
  const id = parseId(reader, diagnostics);
  const test = reader.expression('if');
  const written = reader.get('id') ?? reader.misspelt('id');
  const base: StepBase = {
    ...(id !== undefined
      ? { id }
      : written?.kind === 'scalar'
        ? { brokenId: String(written.value) }
        : {}),
    key: id?.value ?? key,
    range: id?.range ?? headOf(node),
  };
  const guarded = { ...base, ...(test === undefined ? {} : { if: test }) };
  const step =
    kind === 'if'
      ? parseIf(reader, diagnostics, base)
      : parseKind(kind, reader, diagnostics, guarded);
  return { step: step ?? { ...base, kind: 'broken', ids: idsIn(node) }, needs: parseNeeds(reader) };
}

/** The branches that a branch needs: a list of ids, or one. */
function parseNeeds(reader: MapReader): Located<string>[] {
  const node = reader.get('needs');
  if (node === undefined) return [];
  const items = node.kind === 'list' ? node.items : [node];
  return items.flatMap((item) => {
    if (item.kind === 'scalar' && typeof item.value === 'string')
      return [{ value: item.value, range: item.range }];
    reader.invalid(item, '`needs` is a list of ids of branches', 'for instance `needs: [build]`');
    return [];
  });
}

interface StepBase {
  readonly id?: Located<string>;
  readonly brokenId?: string;
  readonly key: string;
  readonly range: Range;
  readonly if?: ScalarNode;
}

/** Null when what the step is about is wrong, which is told. */
function parseKind(
  kind: Exclude<Kind, 'if'>,
  reader: MapReader,
  diagnostics: Diagnostics,
  base: StepBase,
): Step | null {
  switch (kind) {
    case 'step': {
      const uses = reader.text('uses');
      if (uses === undefined) return null;
      const summary = reader.get('summary');
      return {
        ...base,
        kind,
        uses: { value: String(uses.value), range: uses.range },
        withRange: reader.has('with') ? reader.keyRange('with') : uses.range,
        with: parseWith(reader),
        ...withBroken(reader),
        stray: reader.unknown,
        options: parseOptions(reader, diagnostics),
        ...(summary === undefined ? {} : { summary }),
      };
    }
    case 'foreach': {
      const items = parseItems(reader);
      const steps = parseInner(
        reader,
        diagnostics,
        'list what happens to each item under `steps:`',
      );
      const as = parseAs(reader, diagnostics) ?? { value: 'item', range: reader.keyRange('as') };
      const limit = reader.integer('limit', 1, 1_000) ?? 1;
      const fail = parseFail(reader, kind);
      const collect = parseCollect(reader);
      return items === undefined
        ? null
        : { ...base, kind, items, as, limit, fail, ...collect, steps };
    }
    case 'repeat': {
      const repeat = parseRepeat(reader, diagnostics);
      const steps = parseInner(reader, diagnostics, 'list what is repeated under `steps:`');
      const as = parseAs(reader, diagnostics);
      const collect = parseCollect(reader);
      return repeat === null
        ? null
        : { ...base, kind, ...repeat, ...(as === undefined ? {} : { as }), ...collect, steps };
    }
    case 'parallel': {
      const node = reader.get('parallel');
      const branches = node === undefined ? [] : parseBranches(node, kind, diagnostics, true);
      const limit = reader.integer('limit', 1, 1_000) ?? 1_000;
      return { ...base, kind, limit, fail: parseFail(reader, kind), branches };
    }
    case 'try': {
      const steps = parseList(reader, 'try', diagnostics);
      const clauses = parseCatch(reader, diagnostics);
      const last = parseList(reader, 'finally', diagnostics);
      if (!['catch', 'finally'].some((key) => reader.has(key) || reader.isReported(key)))
        reader.required('finally', 'or `catch`; without either `try` changes nothing');
      return { ...base, kind, steps, catch: clauses, finally: last, ...parseTryTimeout(reader) };
    }
    case 'approve': {
      const approve = parseApprove(reader, diagnostics);
      return approve === null ? null : { ...base, kind, ...approve };
    }
    case 'wait':
      return parseWait(reader, diagnostics, base);
    case 'stop':
      return parseStop(reader, diagnostics, base);
    case 'pipeline': {
      const file = reader.text('pipeline');
      if (file === undefined) return null;
      const summary = reader.get('summary');
      return {
        ...base,
        kind,
        file: { value: String(file.value), range: file.range },
        withRange: reader.has('with') ? reader.keyRange('with') : file.range,
        with: parseWith(reader),
        ...withBroken(reader),
        ...(summary === undefined ? {} : { summary }),
      };
    }
  }
}

function parseIf(reader: MapReader, diagnostics: Diagnostics, base: StepBase): Step | null {
  const test = reader.expression('if');
  if (test === undefined) {
    if (!reader.has('if'))
      reader.required('if', 'the condition that chooses between `then` and `else`');
    return null;
  }
  return {
    ...base,
    kind: 'if',
    test,
    then: reader.has('then')
      ? parseList(reader, 'then', diagnostics)
      : missing(reader, 'then', 'write the condition the other way round'),
    else: reader.has('else') ? parseList(reader, 'else', diagnostics) : [],
  };
}

function parseInner(reader: MapReader, diagnostics: Diagnostics, hint: string): Step[] {
  const steps = reader.required('steps', hint);
  return steps === undefined ? [] : parseSteps(steps, 'steps', diagnostics);
}

function parseCollect(reader: MapReader): { readonly collect?: ScalarNode } {
  const collect = reader.expression('collect');
  return collect === undefined ? {} : { collect };
}

/** The list alone: `foreach: x in list` would say two things. */
function parseItems(reader: MapReader): ScalarNode | undefined {
  const items = reader.expression('foreach');
  const both = /^\s*([A-Za-z_]\w*)\s+in\s+(.{1,200})$/.exec(String(items?.value ?? ''));
  if (items === undefined || both === null) return items;
  reader.invalid(
    items,
    '`foreach` takes the list alone',
    `write \`foreach: ${both[2]}\` and \`as: ${both[1]}\``,
  );
  return undefined;
}

/** So many, of a step each, are within what a run's state and history hold. */
export const MAX_ITERATIONS = 1_000;

function parseRepeat(
  reader: MapReader,
  diagnostics: Diagnostics,
): { readonly limit: number; readonly everyMs?: number; readonly until?: ScalarNode } | null {
  const node = reader.get('repeat');
  if (node === undefined) return null;
  if (node.kind !== 'map') {
    reader.invalid(
      node,
      '`repeat` is a map with a `limit`',
      node.kind === 'scalar' && typeof node.value === 'number'
        ? `write \`repeat: { limit: ${node.value} }\``
        : 'for instance `repeat: { limit: 10, every: 1m, until: steps.look.done }`',
    );
    return null;
  }
  const inner = new MapReader(node, diagnostics, {
    what: '`repeat`',
    keys: ['limit', 'every', 'until'],
    misplaced: new Map([
      ['while', 'write `until:` with the opposite: it is asked behind each iteration'],
    ]),
  });
  // Beside `repeat` it is told to stand inside.
  if (!reader.node.entries.some(({ key }) => key === 'limit')) {
    inner.required(
      'limit',
      'say how many iterations there may be: without an end a mistake runs for ever',
    );
  }
  const everyMs = inner.duration('every');
  const until = inner.expression('until');
  return {
    limit: inner.integer('limit', 1, MAX_ITERATIONS) ?? 1,
    ...(everyMs === undefined ? {} : { everyMs }),
    ...(until === undefined ? {} : { until }),
  };
}

function parseCatch(reader: MapReader, diagnostics: Diagnostics): CatchClause[] {
  const node = reader.get('catch');
  if (node === undefined) return [];
  if (node.kind !== 'list' || node.items.length === 0) {
    reader.invalid(
      node,
      '`catch` is a list of clauses',
      node.kind === 'map'
        ? 'begin the clause with `- `'
        : 'for instance `catch: [{ errors: [PROGRAM_FAILED], steps: [ … ] }]`',
    );
    return [];
  }
  return node.items.flatMap((item) => {
    if (item.kind !== 'map') {
      reader.invalid(item, 'a clause of `catch` is a map', 'with `errors`, `as` and `steps`');
      return [];
    }
    const isStep = item.entries.some(
      ({ key }) => key === 'uses' || key === 'stop' || key === 'wait',
    );
    if (isStep && !item.entries.some(({ key }) => key === 'steps')) {
      reader.invalid(
        item,
        'this is a step where a clause of `catch` belongs',
        'write `- steps: [ … ]`',
      );
      return [];
    }
    const clause = new MapReader(item, diagnostics, {
      what: 'a clause of `catch`',
      keys: ['errors', 'as', 'steps'],
    });
    const codes = clause.get('errors');
    if (codes?.kind === 'list' && codes.items.length === 0)
      clause.invalid(codes, '`errors` has no codes', 'without the key it takes every failure');
    // What is wrong takes some, not all.
    const isGiven = clause.has('errors') || clause.isReported('errors');
    const errors = parseCodes(clause, 'errors', diagnostics) ?? (isGiven ? [] : undefined);
    return [
      {
        range: headOf(item),
        ...(errors === undefined ? {} : { errors }),
        as: parseAs(clause, diagnostics, ['error']) ?? { value: 'error', range: headOf(item) },
        steps: parseInner(clause, diagnostics, 'list what happens then under `steps:`'),
      },
    ];
  });
}

function parseWait(reader: MapReader, diagnostics: Diagnostics, base: StepBase): Step | null {
  const node = reader.get('wait');
  if (node === undefined) return null;
  if (node.kind === 'scalar' && node.value !== null)
    return { ...base, kind: 'wait', what: 'for', value: node };
  if (node.kind !== 'map') {
    reader.invalid(node, '`wait` is a duration or a map with `until`', 'for instance `wait: 15m`');
    return null;
  }
  const hint = 'for a length of time write `wait: 15m`';
  const inner = new MapReader(node, diagnostics, {
    what: '`wait`',
    keys: ['until'],
    misplaced: new Map([['for', hint]]),
  });
  const isTold = node.entries.length > 0 && !inner.has('until');
  const until = isTold ? inner.get('until') : inner.required('until', hint);
  return until === undefined ? null : { ...base, kind: 'wait', what: 'until', value: until };
}

function missing(reader: MapReader, key: string, hint: string): Step[] {
  reader.required(key, hint);
  return [];
}

function parseList(reader: MapReader, key: string, diagnostics: Diagnostics): Step[] {
  const node = reader.get(key);
  return node === undefined ? [] : parseSteps(node, key, diagnostics);
}

const FAIL_WAIT = {
  foreach: 'it succeeds if one item did',
  parallel: 'what can still run runs, and then it fails',
};

function parseFail(reader: MapReader, kind: 'foreach' | 'parallel'): 'fast' | 'wait' {
  const node = reader.get('fail');
  if (node === undefined) return 'fast';
  if (node.kind === 'scalar' && (node.value === 'fast' || node.value === 'wait')) return node.value;
  reader.invalid(
    node,
    '`fail` is `fast` or `wait`',
    `\`fast\`: the first failure ends the rest; \`wait\`: ${FAIL_WAIT[kind]}`,
  );
  return 'fast';
}

function parseWith(reader: MapReader): MapNode['entries'] | null {
  const node = reader.get('with');
  if (node === undefined) return reader.isReported('with') ? null : [];
  if (node.kind === 'map') return node.entries;
  if (node.kind === 'scalar' && node.value === null) return [];
  reader.invalid(node, '`with` is a map from inputs to values', 'write `with: { input: value }`');
  return null;
}

function withBroken(reader: MapReader): { readonly withBroken?: true } {
  const node = reader.get('with');
  return node?.kind === 'map' && node.broken === true ? { withBroken: true } : {};
}

function parseStop(reader: MapReader, diagnostics: Diagnostics, base: StepBase): Step | null {
  const node = reader.get('stop');
  if (node === undefined) return null;
  if (node.kind !== 'map') {
    reader.invalid(node, '`stop` is a map with a `reason`', 'write `stop: { reason: … }`');
    return node.kind === 'scalar'
      ? { ...base, kind: 'stop', reason: { ...node, broken: true } }
      : null;
  }
  const inner = new MapReader(node, diagnostics, { what: '`stop`', keys: ['reason'] });
  const reason = inner.required('reason', 'say to the operator why the run ends here');
  return reason === undefined ? null : { ...base, kind: 'stop', reason };
}
