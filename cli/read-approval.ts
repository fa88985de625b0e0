/** The answer to an approval, as the options of the command give it. */
import { hostname, userInfo } from 'node:os';
import { readInput } from '../compiler/bind.js';
import { suggestHint } from '../compiler/suggest.js';
import { printFields, readFields, type AnswerField } from '../core/answer-fields.js';
import type { JsonObject } from '../core/json.js';
import type { ApproveOptions } from './commands/approve.js';
import { CliFailure, EXIT } from './failure.js';

/** Which answer the options give; null when they give none. Throws CliFailure USAGE. */
export function readAction(options: ApproveOptions, hasStep: boolean): 'approve' | 'reject' | null {
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
  return approve ? 'approve' : 'reject';
}

/** `name=value` texts as the fields that are asked for. Throws CliFailure DECISION_INVALID with every mistake. */
export function readAnswerFields(
  given: readonly string[],
  fields: readonly AnswerField[],
): JsonObject {
  const values: JsonObject = {};
  const mistakes: string[] = [];
  for (const text of given) {
    const cut = text.indexOf('=');
    const name = cut < 0 ? text : text.slice(0, cut);
    const field = fields.find((one) => one.name === name);
    if (cut < 0) mistakes.push(`\`${text}\` is not \`name=value\``);
    else if (field === undefined) {
      const names = fields.map((one) => one.name);
      mistakes.push(
        `nobody asked for a field \`${name}\`: ${suggestHint(name, names, 'it has none')}`,
      );
    } else if (Object.hasOwn(values, name)) mistakes.push(`\`${name}\` is given twice`);
    else {
      const read = readInput({ text: text.slice(cut + 1) }, field.type);
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

function usage(message: string, hint: string): CliFailure {
  return new CliFailure('USAGE', message, { hint, exitCode: EXIT.usage });
}
