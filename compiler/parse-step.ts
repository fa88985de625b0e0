import type { Diagnostics, Range } from './diagnostic.js';
import { MISPLACED_INPUTS, parseOptions } from './parse-options.js';
import type { Located, Step } from './pipeline.js';
import { headOf, isLater, MapReader, NAME_PATTERN, refuseLater } from './read-map.js';
import { suggest } from './suggest.js';
import type { MapNode, ScalarNode, SourceNode } from './yaml.js';

/** Ids with a meaning of their own, in expressions or in the language. */
const RESERVED_IDS: readonly string[] = [
  'finally',
  'then',
  'else',
  'catch',
  'inputs',
  'steps',
  'run',
  'error',
  'in',
  'true',
  'false',
  'null',
  // Assigned to an object it would be lost.
  '__proto__',
];

const LATER_KINDS = ['parallel', 'repeat', 'approve', 'wait', 'pipeline'] as const;
const LATER_KEYS = ['needs', 'catch'];

const KEYS = {
  step: [
    'id',
    'if',
    'uses',
    'with',
    'timeout',
    'attempt_timeout',
    'heartbeat',
    'retry',
    'on',
    'on_failure',
    'summary',
  ],
  foreach: ['id', 'if', 'foreach', 'as', 'limit', 'fail', 'collect', 'steps'],
  try: ['id', 'if', 'try', 'finally'],
  if: ['id', 'if', 'then', 'else'],
  stop: ['id', 'if', 'stop'],
} as const;

type Kind = keyof typeof KEYS;

/** The steps of one list. `what` names it in messages. */
export function parseSteps(node: SourceNode, what: string, diagnostics: Diagnostics): Step[] {
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
  return node.items.map((item, index) => parseStep(item, index, diagnostics));
}

function parseStep(node: SourceNode, index: number, diagnostics: Diagnostics): Step {
  if (node.kind !== 'map') {
    diagnostics.add(
      'VALUE_INVALID',
      headOf(node),
      'a step is a map',
      'for instance `- { id: discover, uses: coordinator.discover, with: { slug: my-task } }`',
    );
    return { kind: 'broken', key: `[${index}]`, range: headOf(node), ids: [] };
  }
  const kind = kindOf(node, diagnostics);
  if (kind === null) {
    return { kind: 'broken', key: `[${index}]`, range: headOf(node), ids: idsIn(node) };
  }
  if (typeof kind === 'object') return parseStep(kind, index, diagnostics);
  const reader = new MapReader(node, diagnostics, {
    what: kind === 'step' ? 'a step' : `${kind === 'if' ? 'an' : 'a'} \`${kind}\` step`,
    keys: KEYS[kind],
    later: LATER_KEYS,
    ...(kind === 'step' ? { misplaced: MISPLACED_INPUTS } : {}),
  });
  const id = parseId(reader, diagnostics);
  const test = reader.expression('if');
  const base = {
    ...(id === undefined ? {} : { id }),
    key: id?.value ?? `[${index}]`,
    range: id?.range ?? headOf(node),
  };
  const guarded = { ...base, ...(test === undefined ? {} : { if: test }) };
  const broken = { ...base, kind: 'broken', ids: idsIn(node) } as const;
  switch (kind) {
    case 'step': {
      const uses = reader.text('uses');
      if (uses === undefined) return broken;
      const summary = reader.get('summary');
      return {
        ...guarded,
        kind,
        uses: { value: String(uses.value), range: uses.range },
        withRange: reader.has('with') ? reader.keyRange('with') : uses.range,
        with: parseWith(reader),
        options: parseOptions(reader, diagnostics),
        ...(summary === undefined ? {} : { summary }),
      };
    }
    case 'foreach': {
      const items = reader.expression('foreach');
      const collect = reader.expression('collect');
      const steps = reader.required('steps', 'list what happens to each item under `steps:`');
      const parsed = steps === undefined ? [] : parseSteps(steps, 'steps', diagnostics);
      const as = parseAs(reader, diagnostics);
      const limit = reader.integer('limit', 1, 1_000) ?? 1;
      const fail = parseFail(reader);
      if (items === undefined) return broken;
      return {
        ...guarded,
        kind,
        items,
        as,
        limit,
        fail,
        ...(collect === undefined ? {} : { collect }),
        steps: parsed,
      };
    }
    case 'try':
      return {
        ...guarded,
        kind,
        steps: parseList(reader, 'try', diagnostics),
        finally: reader.has('finally')
          ? parseList(reader, 'finally', diagnostics)
          : missing(reader, 'finally', 'without it `try` changes nothing'),
      };
    case 'if':
      if (test === undefined) {
        if (!reader.has('if'))
          reader.required('if', 'the condition that chooses between `then` and `else`');
        return broken;
      }
      return {
        ...base,
        kind,
        test,
        then: reader.has('then')
          ? parseList(reader, 'then', diagnostics)
          : missing(reader, 'then', 'write the condition the other way round'),
        else: reader.has('else') ? parseList(reader, 'else', diagnostics) : [],
      };
    case 'stop':
      return parseStop(reader, diagnostics, guarded) ?? broken;
  }
}

function missing(reader: MapReader, key: string, hint: string): Step[] {
  reader.required(key, hint);
  return [];
}

function parseList(reader: MapReader, key: string, diagnostics: Diagnostics): Step[] {
  const node = reader.get(key);
  return node === undefined ? [] : parseSteps(node, key, diagnostics);
}

/**
 * What a step is, by the keys that it has; null when that is not clear, and told. A key that is only misspelt is
 * told, and the step is given back with the right one, so that the mistakes in the rest of it are told too.
 */
function kindOf(node: MapNode, diagnostics: Diagnostics): Kind | MapNode | null {
  const keys = node.entries.map((entry) => entry.key);
  const later = node.entries.find((entry) => LATER_KINDS.some((kind) => kind === entry.key));
  if (later !== undefined) {
    refuseLater(later, diagnostics);
    return null;
  }
  const kinds: Kind[] = [];
  if (keys.includes('uses')) kinds.push('step');
  if (keys.includes('foreach')) kinds.push('foreach');
  if (keys.includes('try')) kinds.push('try');
  if (keys.includes('then') || keys.includes('else')) kinds.push('if');
  if (keys.includes('stop')) kinds.push('stop');
  const [kind, second] = kinds;
  const nameOf = (one: Kind): string => (one === 'step' ? 'uses' : one === 'if' ? 'then' : one);
  if (kind !== undefined && second === undefined) return kind;
  if (kind !== undefined && second !== undefined) {
    const at = node.entries.findLast((entry) => kinds.some((one) => nameOf(one) === entry.key));
    diagnostics.add(
      'STEP_KIND',
      at?.keyRange ?? headOf(node),
      `a step does one thing, and this has \`${nameOf(kind)}\` and \`${nameOf(second)}\``,
      'make two steps of it',
    );
    return null;
  }
  for (const entry of node.entries) {
    const near = suggest(entry.key, ['uses', 'foreach', 'try', 'stop']);
    const isKnown = Object.values(KEYS).some((known) => known.some((key) => key === entry.key));
    if (near === null || isKnown || isLater(entry.key)) continue;
    diagnostics.add(
      'KEY_UNKNOWN',
      entry.keyRange,
      `a step has no \`${entry.key}\``,
      `did you mean \`${near}\`?`,
    );
    return {
      ...node,
      entries: node.entries.map((one) => (one === entry ? { ...one, key: near } : one)),
    };
  }
  diagnostics.add(
    'STEP_KIND',
    headOf(node),
    keys.includes('if') ? 'an `if` needs `then`, or a step beside it' : 'this step does nothing',
    'a step has `uses`, `foreach`, `try`, `stop`, or `if` with `then`',
  );
  return null;
}

/** Every `id` below a node that is not understood. */
function idsIn(node: SourceNode): string[] {
  if (node.kind === 'scalar') return [];
  if (node.kind === 'list') return node.items.flatMap(idsIn);
  return node.entries.flatMap(({ key, value }) =>
    key === 'id' && value.kind === 'scalar' ? [String(value.value)] : idsIn(value),
  );
}

function parseId(reader: MapReader, diagnostics: Diagnostics): Located<string> | undefined {
  const node = reader.get('id');
  if (node === undefined) return undefined;
  const value = node.kind === 'scalar' ? String(node.value) : '';
  if (checkName(value, headOf(node), 'an id', diagnostics)) return { value, range: node.range };
  return undefined;
}

function checkName(value: string, range: Range, what: string, diagnostics: Diagnostics): boolean {
  if (!NAME_PATTERN.test(value)) {
    const mended = value.replaceAll('-', '_');
    diagnostics.add(
      'ID_INVALID',
      range,
      `\`${value}\` is not ${what}`,
      NAME_PATTERN.test(mended)
        ? `write \`${mended}\`: in an expression a \`-\` is a subtraction`
        : 'use letters, digits and `_`, not beginning with a digit, at most 64',
    );
    return false;
  }
  if (RESERVED_IDS.includes(value)) {
    diagnostics.add(
      'ID_RESERVED',
      range,
      `\`${value}\` has a meaning of its own and cannot be ${what}`,
      'choose another word',
    );
    return false;
  }
  return true;
}

function parseAs(reader: MapReader, diagnostics: Diagnostics): Located<string> {
  const node = reader.text('as');
  const fallback = { value: 'item', range: reader.keyRange('as') };
  if (node === undefined) return fallback;
  const value = String(node.value);
  // `item` for a name that is refused would make every use of it a second mistake.
  return checkName(value, node.range, 'a name for the item', diagnostics) ||
    NAME_PATTERN.test(value)
    ? { value, range: node.range }
    : fallback;
}

function parseFail(reader: MapReader): 'fast' | 'wait' {
  const node = reader.get('fail');
  if (node === undefined) return 'fast';
  if (node.kind === 'scalar' && (node.value === 'fast' || node.value === 'wait')) return node.value;
  reader.invalid(
    node,
    '`fail` is `fast` or `wait`',
    '`fast`: the first failure ends the rest; `wait`: it succeeds if one item did',
  );
  return 'fast';
}

function parseWith(reader: MapReader): MapNode['entries'] | null {
  const node = reader.get('with');
  if (node === undefined) return reader.isReported('with') ? null : [];
  if (node.kind === 'map') return node.entries;
  if (node.kind === 'scalar' && node.value === null) return [];
  reader.invalid(node, '`with` is a map from inputs to values');
  return null;
}

function parseStop(
  reader: MapReader,
  diagnostics: Diagnostics,
  base: { readonly key: string; readonly range: Range; readonly if?: ScalarNode },
): Step | null {
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
