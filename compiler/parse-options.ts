/** The options of a `uses` step, as its author wrote them. */
import { isStepErrorCode, STEP_ERRORS } from '../core/error.js';
import type { RetryOptions } from '../core/plan.js';
import type { Diagnostics } from './diagnostic.js';
import type { WrittenOptions } from './pipeline.js';
import { headOf, MapReader } from './read-map.js';
import { suggestHint } from './suggest.js';

/** Most devices of one step: more than a machine has. */
const MAX_GPUS = 64;

/** What authors look for among the options, and is an input of the step type. */
export const MISPLACED_INPUTS: ReadonlyMap<string, string> = new Map(
  ['stop_when', 'patience', 'stalled_after'].map((name) => [
    name,
    `it is an input of candidate.train: write it under \`with\``,
  ]),
);

export function parseOptions(reader: MapReader, diagnostics: Diagnostics): WrittenOptions {
  const timeoutMs = reader.duration('timeout');
  const attemptTimeoutMs = reader.duration('attempt_timeout');
  const heartbeatMs = reader.duration('heartbeat');
  if (timeoutMs !== undefined && attemptTimeoutMs !== undefined && attemptTimeoutMs > timeoutMs) {
    const node = reader.get('attempt_timeout');
    if (node !== undefined)
      reader.invalid(node, '`attempt_timeout` is longer than `timeout`, which bounds all attempts');
  }
  return {
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(attemptTimeoutMs === undefined ? {} : { attemptTimeoutMs }),
    ...(heartbeatMs === undefined ? {} : { heartbeatMs }),
    ...parseOn(reader, diagnostics),
    ...parseOnFailure(reader),
    retry: parseRetry(reader, diagnostics),
  };
}

function parseOn(reader: MapReader, diagnostics: Diagnostics): Pick<WrittenOptions, 'gpus'> {
  const node = reader.get('on');
  if (node === undefined) return {};
  if (node.kind !== 'map') {
    reader.invalid(node, '`on` is a map', 'for instance `on: { gpus: 1 }`');
    return {};
  }
  const on = new MapReader(node, diagnostics, {
    what: '`on`',
    keys: ['gpus'],
    later: ['labels'],
  });
  const count = on.integer('gpus', 1, MAX_GPUS);
  return count === undefined ? {} : { gpus: { value: count, range: on.keyRange('gpus') } };
}

function parseOnFailure(reader: MapReader): Pick<WrittenOptions, 'onFailure'> {
  const node = reader.get('on_failure');
  if (node === undefined) return {};
  if (node.kind === 'scalar' && (node.value === 'ask' || node.value === 'fail'))
    return { onFailure: node.value };
  reader.invalid(
    node,
    '`on_failure` is `ask` or `fail`',
    '`ask`: the step waits for a person when it would fail; `fail`: it fails',
  );
  return {};
}

function parseRetry(reader: MapReader, diagnostics: Diagnostics): Partial<RetryOptions> {
  const node = reader.get('retry');
  if (node === undefined) return {};
  if (node.kind !== 'map') {
    reader.invalid(
      node,
      '`retry` is a map',
      'for instance `retry: { attempts: 3, first: 2s, most: 1m }`',
    );
    return {};
  }
  const retry = new MapReader(node, diagnostics, {
    what: '`retry`',
    keys: ['attempts', 'first', 'factor', 'most', 'never'],
  });
  const attempts = retry.integer('attempts', 1, 100);
  const firstMs = retry.duration('first');
  const mostMs = retry.duration('most');
  const factor = retry.get('factor');
  const factorValue =
    factor?.kind === 'scalar' && typeof factor.value === 'number' ? factor.value : null;
  const isFactor = factorValue !== null && factorValue >= 1 && factorValue <= 100;
  if (factor !== undefined && !isFactor)
    retry.invalid(factor, '`factor` is a number from 1 to 100');
  const never = parseNever(retry, diagnostics);
  return {
    ...(attempts === undefined ? {} : { attempts }),
    ...(firstMs === undefined ? {} : { firstMs }),
    ...(mostMs === undefined ? {} : { mostMs }),
    ...(isFactor ? { factor: factorValue } : {}),
    ...(never === undefined ? {} : { never }),
  };
}

function parseNever(retry: MapReader, diagnostics: Diagnostics): string[] | undefined {
  const node = retry.get('never');
  if (node === undefined) return undefined;
  if (node.kind !== 'list') {
    retry.invalid(node, '`never` is a list of error codes');
    return undefined;
  }
  return node.items.flatMap((item) => {
    const code = item.kind === 'scalar' ? String(item.value) : '';
    if (isStepErrorCode(code)) return [code];
    diagnostics.add(
      'ERROR_CODE_UNKNOWN',
      headOf(item),
      `there is no error code \`${code}\``,
      suggestHint(code, Object.keys(STEP_ERRORS), ''),
    );
    return [];
  });
}
