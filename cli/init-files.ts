/** The files of `adit init`, as texts: the shipped round and its first test, made one's own. Values in, texts out. */
import { isMap, isScalar, isSeq, parseDocument, stringify, type Document } from 'yaml';
import { demoInputs, DEMO_TASKS } from './demo-inputs.js';

export interface InitAnswers {
  /** Name of the pipeline, and of its files. */
  readonly name: string;
  /** Slug. */
  readonly task: string;
  /** Command that trains one candidate, on one line. */
  readonly train: string;
  /** Absolute path; null when the settings of the machine say it, or shall. */
  readonly hotkeyFile: string | null;
}

export interface InitSources {
  /** `pipelines/frontier-round.yaml`, and the tests beside it. */
  readonly pipeline: string;
  readonly tests: string;
  /** Path of the folder of schemas from the folder of the files, with `/`. */
  readonly schemas: string;
}

/** File names to texts, in the order in which a person reads them; not formatted. */
export function initFiles(answers: InitAnswers, sources: InitSources): Map<string, string> {
  const { name, hotkeyFile } = answers;
  return new Map([
    [`${name}.yaml`, pipelineText(answers, sources)],
    [`${name}.test.yaml`, testText(answers, sources)],
    [`${name}.inputs.yaml`, inputsText(answers)],
    ...(hotkeyFile === null ? [] : [[CONFIG_FILE, configText(hotkeyFile)] as const]),
  ]);
}

export const CONFIG_FILE = 'adit.config.yaml';

function pipelineText(
  { name, task, train }: InitAnswers,
  { pipeline, schemas }: InitSources,
): string {
  const document = parseDocument(pipeline);
  const defaults: [number, string][] = Object.entries({ task, train }).map(([input, value]) => [
    endOf(document, ['inputs', input, 'type']),
    `\n    default: ${scalar(value)}`,
  ]);
  const start = startOf(pipeline, 'pipeline');
  return `# yaml-language-server: $schema=${schemas}/pipeline.schema.json
#
# One round of research mining, from "which task is live?" to a verified reward proof; change it as you need.
#
#   adit check ${name}.yaml
#   adit test ${name}.test.yaml
#   adit run ${name}.yaml --inputs-file ${name}.inputs.yaml
#
# Coordinator, hotkey, recipient and publish target are settings of the worker: they never stand in a pipeline.
# \`adit steps TYPE\` tells what a step takes and gives.
${insert(pipeline, defaults)
  .slice(start)
  .replace(/^pipeline: *\S+/, `pipeline: ${name}`)}`;
}

/** The first test alone, with what all steps give. */
function testText({ name }: InitAnswers, { tests, schemas }: InitSources): string {
  const list = parseDocument(tests).get('tests');
  if (!isSeq(list)) throw new Error('The shipped tests have no list of tests.');
  const [first] = list.items;
  const start = startOf(tests, 'values');
  return `# yaml-language-server: $schema=${schemas}/test.schema.json
#
# What becomes of a round, without a server and in simulated time:
#
#   adit test ${name}.test.yaml
#
# \`steps\` says what each step gives in place of running it; a test changes what it is about (docs/testing.md).

${tests.slice(start, isMap(first) ? first.range?.[1] : undefined).trimEnd()}

  # Add your own: what you expect when a recipe fails, when nothing is better, when somebody says no.
  - name: without a recipe nothing starts
    inputs: { recipes: [] }
    expect:
      - status == 'stopped' && size(order) == 0
`;
}

function inputsText({ name, task }: InitAnswers): string {
  const local = DEMO_TASKS.some((slug) => slug === task) ? demoInputs(task) : null;
  const { recipes, summary, idea } = local ?? {
    recipes: [
      {
        name: 'my first idea',
        edits: [
          {
            path: 'path/in/the/repository.py',
            find: 'text that is there exactly once',
            replace: 'text in its place',
          },
        ],
      },
    ],
    summary: 'What was done and why it helps.',
    idea: undefined,
  };
  return `# What a round is started with: adit run ${name}.yaml --inputs-file ${name}.inputs.yaml

# Each recipe is a named set of exact replacements in the task's repository; each is trained and measured by itself.
${stringify({ recipes }, { lineWidth: 0 })}
# The text of the submission.
${stringify({ summary, ...(idea === undefined ? {} : { idea }) }, { lineWidth: 0 })}`;
}

function configText(hotkeyFile: string): string {
  return `# Settings of this machine, for commands and workers that are started in this folder; a variable such as
# ADIT_HOTKEY_FILE goes before them. All of them: docs/operating.md. \`adit doctor\` checks them.
hotkeyFile: ${scalar(hotkeyFile)}
# coordinatorUrl: https://autoresearch.bitsota.com
# poolUrl: https://pool.bitsota.com
# recipient: 5… (the coldkey address that rewards must be paid to)
# publishUrl: https://… (where artifacts are PUT and can be fetched)
`;
}

/** A text as one YAML value on one line. */
function scalar(text: string): string {
  return stringify(text, { lineWidth: 0 }).trimEnd();
}

/** Texts put in at offsets. */
function insert(text: string, pieces: readonly [number, string][]): string {
  return pieces
    .toSorted(([a], [b]) => b - a)
    .reduce((made, [at, piece]) => made.slice(0, at) + piece + made.slice(at), text);
}

function startOf(text: string, key: string): number {
  const at = text.search(new RegExp(`^${key}:`, 'm'));
  if (at === -1) throw new Error(`The shipped file has no \`${key}\`.`);
  return at;
}

/** Where a value ends. */
function endOf(document: Document, path: readonly string[]): number {
  const node = document.getIn(path, true);
  const end = isScalar(node) ? node.range?.[1] : undefined;
  if (end === undefined) throw new Error(`The shipped file has no \`${path.join('.')}\`.`);
  return end;
}
