import { isSlip } from './suggest.js';

/** Words that other tools have for what a pipeline says in its own: what an author most likely meant by them. */

/** By a word in lower case, without `-` and `_`: the words of a pipeline that it may stand for. */
const MEANT: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    uses: 'action type kind task step call plugin',
    with: 'args arguments params parameters input inputs',
    inputs: 'params parameters args arguments variables vars',
    foreach: 'for each with_items items matrix loop_over map',
    repeat: 'while loop until retry_until poll',
    parallel: 'concurrent branches fork all',
    try: 'attempt begin',
    catch: 'rescue except on_error on_failure handle',
    finally: 'always ensure cleanup after_all',
    approve: 'approval confirm manual ask review',
    wait: 'sleep delay pause',
    stop: 'exit abort return end break halt fail',
    if: 'when condition unless cond only_if',
    then: 'do',
    else: 'otherwise',
    id: 'name key ref',
    pipeline: 'name workflow title id',
    summary: 'description title name doc help desc question prompt message',
    expires: 'timeout expires_in expiry deadline',
    quorum: 'approvals required min_approvals',
    show: 'display present',
    fields: 'form questions',
    command: 'cmd run script shell exec',
    env: 'environment',
    needs: 'depends_on dependencies after requires depends',
    limit: 'concurrency max_parallel parallelism max times count max_iterations',
    every: 'interval period delay wait',
    fail: 'fail_fast on_failure',
    collect: 'output outputs result results register',
    steps: 'jobs stages tasks do body run',
    retry: 'retries max_attempts attempts max_retries',
    attempts: 'max max_attempts times count limit retries',
    first: 'initial initial_interval delay',
    most: 'max max_interval max_delay',
    factor: 'backoff multiplier backoff_coefficient',
    timeout: 'timeout_minutes time_limit deadline max_time',
    errors: 'codes on when error_codes',
    as: 'item_name var variable loop_var name index',
    default: 'value initial',
    one_of: 'enum options choices values',
    on_failure: 'continue_on_error on_error',
    gpus: 'gpu devices device',
    reason: 'message text because why',
    outputs: 'results returns output',
  }).map(([key, words]) => [key, words.split(' ').map(plain)]),
);

function plain(word: string): string {
  return word.toLowerCase().replaceAll(/[-_]/g, '');
}

/** The one of these keys that another tool calls by this word, or null. */
export function translate(word: string, keys: readonly string[]): string | null {
  const wanted = plain(word);
  return (
    keys.find((key) => plain(key) === wanted) ??
    keys.find((key) => MEANT.get(key)?.includes(wanted) === true) ??
    // `retires` for `retries`.
    keys.find((key) => MEANT.get(key)?.some((other) => isSlip(wanted, other)) === true) ??
    null
  );
}

/** What stands in other tools where a step runs a command. */
const COMMAND_WORDS: readonly string[] = [
  'run',
  'script',
  'command',
  'cmd',
  'shell',
  'exec',
  'sh',
  'bash',
];

/**
 * What to write in place of a key that a step does not have, where a key alone does not say it; null for one that is
 * not known. `hasType`: the step has a `uses`.
 */
export function rewrite(word: string, hasType: boolean): string | null {
  if (
    hasType &&
    [...COMMAND_WORDS, 'env', 'environment', 'workspace', 'task'].includes(plain(word))
  )
    return 'inputs of a step type stand under `with`';
  if (COMMAND_WORDS.includes(plain(word)))
    return 'a command is a step type: `uses: process.run`, `with: { command: … }`';
  switch (plain(word)) {
    case 'env':
    case 'environment':
      return 'it is an input of process.run: `with: { env: { … } }`';
    case 'outputs':
      return 'a step type has its outputs; of process.run declare them under `with`';
    case 'gpu':
    case 'gpus':
    case 'devices':
      return 'write `on: { gpus: 1 }`';
    case 'as':
      return 'only `foreach`, `repeat` and `catch` give names to values';
    case 'catch':
    case 'finally':
      return `it stands beside a \`try\`: \`try: [this step]\`, \`${word}: …\``;
    case 'steps':
      return 'say what the block does with them: `foreach`, `repeat`, `parallel` or `try`';
    case 'continueonerror':
    case 'ignoreerrors':
      return 'put the step into a `try` with a `catch`';
    default:
      return null;
  }
}
