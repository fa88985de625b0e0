import { createInterface } from 'node:readline/promises';
import type { Readable, Writable } from 'node:stream';
import { CliFailure, EXIT } from './failure.js';

export interface Question {
  readonly text: string;
  /** Taken for an empty answer; empty for none. */
  readonly otherwise: string;
  /** Why an answer will not do; null when it does. */
  readonly refuse: (answer: string) => string | null;
}

/**
 * Asks one question after the other, each until its answer will do; each is made from the answers before it. Throws
 * INTERRUPTED when the person leaves.
 */
export async function askAnswers(
  questions: readonly ((before: readonly string[]) => Question)[],
  streams: { readonly input: Readable; readonly output: Writable },
): Promise<string[]> {
  const lines = createInterface(streams);
  lines.once('SIGINT', () => lines.close());
  // Unlike `question` it keeps lines that come before they are asked for.
  const given = lines[Symbol.asyncIterator]();
  const ask = async ({ text, otherwise, refuse }: Question): Promise<string> => {
    lines.setPrompt(otherwise === '' ? `${text}: ` : `${text} [${otherwise}]: `);
    for (;;) {
      lines.prompt();
      const line = await given.next();
      if (line.done === true) {
        streams.output.write('\n');
        throw new CliFailure('INTERRUPTED', 'Nothing was written.', {
          exitCode: EXIT.interrupted,
        });
      }
      const answer = line.value.trim() === '' ? otherwise : line.value.trim();
      const problem = refuse(answer);
      if (problem === null) return answer;
      streams.output.write(`${problem}\n`);
    }
  };
  try {
    const answers: string[] = [];
    for (const question of questions) answers.push(await ask(question(answers)));
    return answers;
  } finally {
    lines.close();
  }
}
