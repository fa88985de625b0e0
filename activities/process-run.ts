import { z } from 'zod';
import { fileRefSchema, workspaceSchema } from '../compiler/values.js';
import { StepError } from '../core/error.js';
import { isNestedTooDeeply } from '../core/json-depth.js';
import { isJsonObject, type Json, type JsonObject } from '../core/json.js';
import { commandEnvironmentSchema } from './command-environment.js';
import { hasSucceeded, placeOf, runProgram, toProgramError } from './program.js';
import { defineStep } from './step-type.js';

const outputType = z.enum(['string', 'int', 'number', 'bool']);
type OutputType = z.infer<typeof outputType>;

/** As much as a step may return. */
const MOST_OUTPUT_BYTES = 64 * 1024;

export const processRun = defineStep({
  name: 'process.run',
  summary:
    'Runs any command; it returns values by writing a JSON object to the file that ADIT_OUTPUTS_FILE names.',
  input: z.object({
    command: z
      .string()
      .min(1)
      .describe(
        'Run by `/bin/sh -c`. What it leaves in ADIT_CHECKPOINT_DIR is there again when it is started anew.',
      ),
    workspace: workspaceSchema
      .optional()
      .describe('Where it runs; tracked files must stay as they are. Absent: an empty directory.'),
    env: commandEnvironmentSchema
      .optional()
      .describe('Further environment variables for the command.'),
    outputs: z
      .record(z.string(), outputType)
      .optional()
      .describe('Names and types of the values that the command returns.'),
  }),
  output: z.object({
    exit_code: z.int().describe('0: any other status fails the step.'),
    outputs: z.record(z.string(), z.json()).describe('The declared values.'),
    log: fileRefSchema.describe("The command's output; of more than 64 MiB head and tail."),
  }),
  defaults: { timeout: '1h', heartbeat: '20s' },
  errors: [
    'PROGRAM_FAILED',
    'PROGRAM_UNUSABLE',
    'PROGRAM_LOST',
    'PROGRAM_TIMEOUT',
    'PROGRAM_OUT_OF_MEMORY',
    'PROGRAM_KILLED',
    'DEVICE_MISSING',
    'OUTPUT_MISSING',
    'STEP_OUTPUT_INVALID',
    'WORKSPACE_CHANGED',
    'FILE_MISSING',
    'DISK_LOW',
    'DISK_FULL',
  ],
  program: true,
  host: [['workspace']],
  typedOutput: 'outputs',
  example: `
- id: count
  uses: process.run
  with:
    command: printf '{"files":%d}' "$(ls | wc -l)" > "$ADIT_OUTPUTS_FILE"
    workspace: "\${{ steps.source.workspace }}"
    outputs: { files: int }
`,
  run: async ({ command, workspace, env = {}, outputs = {} }, context) => {
    const { git, processes, store } = context.adapters;
    const files = processes.files(placeOf(context));
    const checkpointDir = await processes.checkpointDirectory({
      roundId: context.call.roundId,
      stepPath: context.call.path,
      inputs: { command, env, commit: workspace?.commit ?? '', tree: workspace?.tree ?? '' },
    });
    const ended = await runProgram(
      context,
      {
        program: { command },
        ...(workspace === undefined ? {} : { cwd: workspace.path }),
        env: { ...env, ADIT_OUTPUTS_FILE: files.outputsFile, ADIT_CHECKPOINT_DIR: checkpointDir },
      },
      // Looking at it proves that the path is a workspace of this host.
      workspace === undefined
        ? {}
        : { prepare: async () => void (await git.look(workspace, context.signal)) },
    );
    if (!hasSucceeded(ended)) {
      throw toProgramError('The command', ended, 'PROGRAM_FAILED', checkpointDir);
    }
    const isTyped = Object.keys(outputs).length > 0;
    const written = isTyped ? await processes.readOutputs(files, MOST_OUTPUT_BYTES) : null;
    return {
      exit_code: 0,
      outputs: readOutputs(written, outputs),
      log: await store.putFile(await processes.boundedLog(ended), context.signal),
    };
  },
});

function readOutputs(
  text: string | null,
  declared: { readonly [name: string]: OutputType },
): JsonObject {
  const names = Object.keys(declared);
  if (names.length === 0) return {};
  if (text === null) {
    throw new StepError(
      'OUTPUT_MISSING',
      `The command wrote no outputs; declared are ${names.join(', ')}.`,
      {
        hint: 'It must write a JSON object to the file that $ADIT_OUTPUTS_FILE names.',
      },
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  if (!isJsonObject(value) || isNestedTooDeeply(value)) {
    throw new StepError(
      'STEP_OUTPUT_INVALID',
      'What the command wrote to $ADIT_OUTPUTS_FILE is no JSON object.',
    );
  }
  const outputs: JsonObject = {};
  for (const [name, type] of Object.entries(declared)) {
    const output = value[name];
    if (output === undefined) {
      throw new StepError('OUTPUT_MISSING', `The command did not write its output ${name}.`, {
        hint: `Written were: ${Object.keys(value).slice(0, 20).join(', ') || 'none'}.`,
      });
    }
    if (!HAS_TYPE[type](output)) {
      throw new StepError(
        'STEP_OUTPUT_INVALID',
        `The output ${name} is ${JSON.stringify(output).slice(0, 80)}, which is no ${type}.`,
      );
    }
    outputs[name] = output;
  }
  return outputs;
}

const HAS_TYPE: { readonly [T in OutputType]: (value: Json) => boolean } = {
  string: (value) => typeof value === 'string',
  bool: (value) => typeof value === 'boolean',
  number: (value) => typeof value === 'number' && Number.isFinite(value),
  int: (value) => Number.isSafeInteger(value),
};
