/** The answer to an approval, as the options of the command give it. */
import { hostname, userInfo } from 'node:os';
import { readInput } from '../compiler/bind.js';
import { suggestHint } from '../compiler/suggest.js';
import { printFields, readFields, type AnswerField } from '../core/answer-fields.js';
import type { JsonObject } from '../core/json.js';
import type { ApproveOptions } from './commands/approve.js';
import { CliFailure, EXIT, usage } from './failure.js';
import { readNameValues } from './name-values.js';

/** What the options answer, before it is known what is asked. */
export interface GivenAnswer {
  readonly action: 'approve' | 'reject';
  /** Texts of the fields, by name. */
  readonly fields: ReadonlyMap<string, string>;
}

/** The answer that the options give; null when they give none. Throws CliFailure USAGE. */
export function readGivenAnswer(options: ApproveOptions, hasStep: boolean): GivenAnswer | null {
  const { approve = false, reject = false, field } = options;
  if (approve && reject)
    throw usage('--approve and --reject are two answers; only one can count.', 'Give one.');
  if (!approve && !reject) {
    const { reason, by, id, digest } = options;
    if ([reason, by, id, digest].some((value) => value !== undefined) || field.length > 0)
      throw usage(
        '--field, --digest, --reason, --by and --id belong to an answer, and none is given.',
        'Give --approve or --reject.',
      );
    return null;
  }
  if (!hasStep)
    throw usage(
      'An answer is for one step of one run.',
      'For example: adit approve RUN STEP --approve',
    );
  if (reject && field.length > 0)
    throw usage('A rejection has no fields.', 'Say why with --reason.');
  if (options.file !== undefined)
    throw usage('--file prints a file, and an answer is given.', 'Do one after the other.');
  if (options.digest !== undefined && !/^[0-9a-f]{64}$/.test(options.digest))
    throw usage(
      '--digest is a SHA-256: 64 digits and letters from a to f.',
      'Copy it whole from `adit approve RUN STEP`, which shows it.',
    );
  return {
    action: approve ? 'approve' : 'reject',
    fields: readNameValues('--field', field, 'lane=fast'),
  };
}

/** The texts as the fields that are asked for. Throws CliFailure DECISION_INVALID with every mistake. */
export function readAnswerFields(
  given: GivenAnswer['fields'],
  fields: readonly AnswerField[],
): JsonObject {
  const values: JsonObject = {};
  const mistakes: string[] = [];
  for (const [name, text] of given) {
    const field = fields.find((one) => one.name === name);
    if (field === undefined) {
      const names = fields.map((one) => one.name);
      mistakes.push(
        `nobody asked for a field \`${name}\`: ${suggestHint(name, names, 'it has none')}`,
      );
    } else {
      const read = readInput({ text }, field.type);
      if (typeof read === 'string') mistakes.push(`\`${name}\` ${read}`);
      else values[name] = read.value;
    }
  }
  const whole = mistakes.length === 0 ? readFields(fields, values) : null;
  if (whole !== null && 'problem' in whole) mistakes.push(whole.problem);
  if (mistakes.length === 0) return values;
  const asked =
    fields.length === 0 ? 'It asks for no fields.' : `It asks for: ${printFields(fields)}.`;
  throw new CliFailure(
    'DECISION_INVALID',
    ['The answer does not fit what is asked:', ...mistakes.map((one) => `  ${one}`)].join('\n'),
    { hint: asked, exitCode: EXIT.usage },
  );
}

/** Who answers, where nobody says: a name that a person gives to themselves. */
export function ownPerson(): string {
  return `${userInfo().username}@${hostname()}`;
}
