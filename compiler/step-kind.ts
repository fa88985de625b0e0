/** What a step is, by the keys that it has. */
import type { Diagnostics } from './diagnostic.js';
import { rewrite, translate } from './other-words.js';
import { headOf, isLater } from './read-map.js';
import { suggest } from './suggest.js';
import type { MapNode, SourceNode } from './yaml.js';

/** Keys of every step. */
export const COMMON = ['id', 'if'];

export const KEYS = {
  step: [
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
  foreach: ['foreach', 'as', 'limit', 'fail', 'collect', 'steps'],
  repeat: ['repeat', 'as', 'collect', 'steps'],
  parallel: ['parallel', 'limit', 'fail'],
  try: ['try', 'catch', 'finally', 'finally_timeout'],
  if: ['then', 'else'],
  approve: ['approve'],
  wait: ['wait'],
  stop: ['stop'],
  pipeline: ['pipeline', 'with', 'summary'],
} as const;

export type Kind = keyof typeof KEYS;

/** The key that says what a step is. */
export const KIND_KEYS: readonly (readonly [string, Kind])[] = [
  ['uses', 'step'],
  ['foreach', 'foreach'],
  ['repeat', 'repeat'],
  ['parallel', 'parallel'],
  ['try', 'try'],
  ['then', 'if'],
  ['else', 'if'],
  ['approve', 'approve'],
  ['wait', 'wait'],
  ['stop', 'stop'],
  ['pipeline', 'pipeline'],
];

/**
 * What a step is, by the keys that it has; null when that is not clear, and told. A key that is only misspelt is
 * told, and the step is given back with the right one, so that the mistakes in the rest of it are told too.
 */
export function kindOf(node: MapNode, diagnostics: Diagnostics): Kind | MapNode | null {
  const keys = node.entries.map((entry) => entry.key);
  const found = KIND_KEYS.filter(([key]) => keys.includes(key));
  const [first] = found;
  const second = found.find(([, kind]) => kind !== first?.[1]);
  if (first !== undefined && second === undefined) return first[1];
  if (first !== undefined && second !== undefined) {
    const at = node.entries.findLast(({ key }) => found.some(([one]) => one === key));
    diagnostics.add(
      'STEP_KIND',
      at?.keyRange ?? headOf(node),
      `a step does one thing, and this has \`${first[0]}\` and \`${second[0]}\``,
      'make two steps of it',
    );
    return null;
  }
  for (const entry of node.entries) {
    const near = suggest(
      entry.key,
      KIND_KEYS.map(([key]) => key).filter((key) => key !== 'then' && key !== 'else'),
    );
    const isKnown = [COMMON, ...Object.values(KEYS)].some((known) =>
      known.some((key) => key === entry.key),
    );
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
  if (node.broken === true || refuseOtherWord(node, diagnostics)) return null;
  diagnostics.add(
    'STEP_KIND',
    headOf(node),
    keys.includes('if') ? 'an `if` needs `then`, or a step beside it' : 'this step does nothing',
    'a step has `uses`, `foreach`, `repeat`, `parallel`, `try`, `approve`, `wait`, `stop`, `pipeline`, or `if` with `then`',
  );
  return null;
}

/** A step that says in the words of another tool what it does: true when that is told. */
function refuseOtherWord(node: MapNode, diagnostics: Diagnostics): boolean {
  for (const { key, keyRange } of node.entries) {
    if (COMMON.includes(key)) continue;
    if (key === 'catch' || key === 'finally') {
      diagnostics.add(
        'STEP_KIND',
        keyRange,
        `\`${key}\` stands beside a \`try\``,
        'add `try: [steps]`',
      );
      return true;
    }
    // What other tools call a step's name is no call of another file.
    const meant = translate(
      key,
      [...new Set(KIND_KEYS.map(([one]) => one))].filter((one) => one !== 'pipeline'),
    );
    const hint = rewrite(key, false) ?? (meant === null ? null : `did you mean \`${meant}\`?`);
    if (hint === null) continue;
    diagnostics.add('KEY_UNKNOWN', keyRange, `a step has no \`${key}\``, hint);
    return true;
  }
  return false;
}

/** Every `id` below a node that is not understood. */
export function idsIn(node: SourceNode): string[] {
  if (node.kind === 'scalar') return [];
  if (node.kind === 'list') return node.items.flatMap(idsIn);
  return node.entries.flatMap(({ key, value }) =>
    key === 'id' && value.kind === 'scalar' ? [String(value.value)] : idsIn(value),
  );
}
