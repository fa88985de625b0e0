/** The options of a `uses` step, as its author wrote them. */
import { isStepErrorCode, type StepErrorCode } from '../core/error.js';
import type { RetryOptions } from '../core/plan.js';
import { codeHint } from './code-hint.js';
import type { Diagnostics } from './diagnostic.js';
import { parseFinallyTimeout } from './parse-finally-timeout.js';
import type { Defaults, Located, WrittenOptions } from './pipeline.js';
import { headOf, MapReader } from './read-map.js';

/** Most devices of one step: more than a machine has. */
export const MAX_GPUS = 64;

/** What authors look for among the options, and is an input of the step type. */
export const MISPLACED_INPUTS: ReadonlyMap<string, string> = new Map([
  ...['stop_when', 'patience', 'stalled_after'].map(
    (name) => [name, `it is an input of candidate.train: write it under \`with\``] as const,
  ),
  ['deadline', 'it is for the whole run, at the top of the file; a step has `timeout`'],
  ['finally_timeout', 'it stands beside `finally`, or in `defaults`'],
]);

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

/** Keys of `defaults`. */
export const DEFAULT_KEYS = [
  'timeout',
  'attempt_timeout',
  'heartbeat',
  'retry',
  'on_failure',
  'finally_timeout',
] as const;

/** `defaults` of a pipeline: options for every step that does not say otherwise. */
export function parseDefaults(pipeline: MapReader, diagnostics: Diagnostics): Defaults {
  const node = pipeline.get('defaults');
  if (node === undefined) return { retry: {} };
  if (node.kind !== 'map') {
    pipeline.invalid(
      node,
      '`defaults` is a map of options',
      'for instance `defaults: { timeout: 1h }`',
    );
    return { retry: {} };
  }
  const reader = new MapReader(node, diagnostics, {
    what: '`defaults`',
    keys: DEFAULT_KEYS,
    misplaced: new Map([['on', 'devices are leased by single steps: write it there']]),
  });
  return { ...parseOptions(reader, diagnostics), ...parseFinallyTimeout(reader) };
}

/** What a step says, and else what its pipeline says. */
export function withDefaults(own: WrittenOptions, defaults: WrittenOptions): WrittenOptions {
  return { ...defaults, ...own, retry: { ...defaults.retry, ...own.retry } };
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
      node.kind === 'scalar' && typeof node.value === 'number'
        ? `write \`retry: { attempts: ${node.value} }\``
        : 'for instance `retry: { attempts: 3, first: 2s, most: 1m }`',
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
    retry.invalid(
      factor,
      '`factor` is a number from 1 to 100',
      factor.kind === 'scalar' && /^[\d.]+$/.test(String(factor.value)) && factorValue === null
        ? 'write it without quotes'
        : '',
    );
  const never = parseCodes(retry, 'never', diagnostics)?.map(({ value }) => value);
  return {
    ...(attempts === undefined ? {} : { attempts }),
    ...(firstMs === undefined ? {} : { firstMs }),
    ...(mostMs === undefined ? {} : { mostMs }),
    ...(isFactor ? { factor: factorValue } : {}),
    ...(never === undefined ? {} : { never }),
  };
}

/** A list of error codes, each with its place. */
export function parseCodes(
  reader: MapReader,
  key: string,
  diagnostics: Diagnostics,
): Located<StepErrorCode>[] | undefined {
  const node = reader.get(key);
  if (node === undefined) return undefined;
  if (node.kind !== 'list') {
    const one = node.kind === 'scalar' && isStepErrorCode(String(node.value));
    const example = one ? String(node.value) : 'PROGRAM_FAILED';
    reader.invalid(node, `\`${key}\` is a list of error codes`, `write \`${key}: [${example}]\``);
    return undefined;
  }
  return node.items.flatMap((item) => {
    const code = item.kind === 'scalar' ? String(item.value) : '';
    if (isStepErrorCode(code)) return [{ value: code, range: headOf(item) }];
    diagnostics.add(
      'ERROR_CODE_UNKNOWN',
      headOf(item),
      `there is no error code \`${code}\``,
      codeHint(
        code,
        key === 'errors'
          ? 'without `errors` the clause takes every failure'
          : 'say `attempts: 1` to try nothing again',
      ),
    );
    return [];
  });
}
