import { hostname, userInfo } from 'node:os';
import { STEP_TYPES } from '../activities/registry.js';
import { isJsonObject, type JsonObject } from '../core/json.js';
import type { Decision } from '../workflows/contract.js';
import { CliFailure, EXIT, usage } from './failure.js';
import { readYamlMap } from './yaml-file.js';

/** An answer for a parked step, before it is known which step it is for. */
export type Answer =
  | { readonly action: 'retry' | 'fail' }
  | { readonly action: 'value'; readonly outputs: JsonObject };

interface AnswerOptions {
  readonly retry?: boolean;
  readonly value?: string;
  readonly fail?: boolean;
  readonly reason?: string;
  readonly by?: string;
  readonly id?: string;
}

/** The answer that the options give; null when they give none. Throws CliFailure USAGE. */
export function readAnswer(options: AnswerOptions, hasStep: boolean): Answer | null {
  const { retry, value, fail } = options;
  const given = [retry === true, value !== undefined, fail === true].filter(Boolean).length;
  if (given > 1) {
    throw usage('--retry, --value and --fail are three answers; only one can count.', 'Give one.');
  }
  if (given === 0) {
    if (options.reason !== undefined || options.by !== undefined || options.id !== undefined) {
      throw usage(
        '--reason, --by and --id belong to an answer, and none is given.',
        'Give one of --retry, --value and --fail.',
      );
    }
    return null;
  }
  if (!hasStep) {
    throw usage(
      'An answer is for one step of one run.',
      'For example: adit decide RUN STEP --retry',
    );
  }
  if (value !== undefined) return { action: 'value', outputs: readValue(value) };
  return { action: retry === true ? 'retry' : 'fail' };
}

/** The decision as the run takes it. */
export function toDecision(
  answer: Answer,
  step: string,
  options: Pick<AnswerOptions, 'reason' | 'by' | 'id'>,
  newId: string,
): Decision {
  return {
    id: options.id ?? newId,
    step,
    ...answer,
    by: options.by ?? `${userInfo().username}@${hostname()}`,
    ...(options.reason === undefined ? {} : { reason: options.reason }),
  };
}

/**
 * The outputs as the step type's own schema reads them. Throws CliFailure DECISION_INVALID with every mistake; the
 * run checks them once more.
 */
export function assertOutputs(uses: string, outputs: JsonObject): void {
  const stepType = STEP_TYPES.find(({ name }) => name === uses);
  if (stepType === undefined) {
    throw new CliFailure('DECISION_INVALID', `A step of kind ${uses} takes no value.`, {
      hint: 'Answer with --retry or --fail.',
      exitCode: EXIT.usage,
    });
  }
  const parsed = stepType.output.safeParse(outputs);
  if (parsed.success) return;
  const mistakes = parsed.error.issues.map(
    ({ path, message }) => `  ${path.map(String).join('.') || 'value'}: ${message}`,
  );
  throw new CliFailure(
    'DECISION_INVALID',
    [`The value is none that ${uses} could have returned:`, ...mistakes.slice(0, 20)].join('\n'),
    { hint: `\`adit steps ${uses}\` shows its outputs.`, exitCode: EXIT.usage },
  );
}

function readValue(given: string): JsonObject {
  const example = 'submission: { … }';
  if (!given.trimStart().startsWith('{')) {
    const entries = readYamlMap(given, 'The file of --value', example);
    return Object.fromEntries(entries.map(({ name, value }) => [name, value]));
  }
  let value: unknown;
  try {
    value = JSON.parse(given);
  } catch (error) {
    throw usage(
      `--value: it is not JSON: ${firstLine(error)}`,
      `For example: --value '{"submission": {…}}'; a file may be YAML.`,
    );
  }
  if (isJsonObject(value)) return value;
  throw usage('--value must hold a map of outputs.', `For example: ${example}`);
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? '';
}
