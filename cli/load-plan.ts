/** From a pipeline file and given inputs to a Plan, by the compiler; every mistake is told at once. */
import { createHash } from 'node:crypto';
import { STEP_TYPES } from '../activities/registry.js';
import { bindPipeline, type GivenInput } from '../compiler/bind.js';
import type { CheckedPipeline } from '../compiler/check.js';
import { compilePipeline, sourceOf } from '../compiler/compile.js';
import { printDiagnostic, type Diagnostic, type Source } from '../compiler/diagnostic.js';
import type { Network, Plan } from '../core/plan.js';
import { CliFailure, EXIT } from './failure.js';
import { readNameValues } from './name-values.js';
import { filesOnDisk, STANDARD_INPUT } from './pipeline-files.js';
import { readPipelineFile, readTextFile } from './read-file.js';
import { readYamlMap } from './yaml-file.js';

export interface LoadedPipeline {
  readonly file: string;
  readonly pipeline: CheckedPipeline;
  readonly source: Source;
  readonly sourceSha256: string;
  /** What `adit check` warns of, as it prints it; empty for nothing. */
  readonly warnings: string;
}

export type GivenInputs = ReadonlyMap<string, GivenInput>;

/** Reads and checks a pipeline file, `-` for standard input. Throws CliFailure PIPELINE_INVALID (exit code 2) with every mistake. */
export async function loadPipeline(named: string): Promise<LoadedPipeline> {
  const file = named === '-' ? STANDARD_INPUT : named;
  const content = await readPipelineFile(named, 'The pipeline file');
  const compiled = compilePipeline(content, file, STEP_TYPES, filesOnDisk);
  const { pipeline, diagnostics, source } = compiled;
  if (pipeline === null)
    throw invalid('PIPELINE_INVALID', file, diagnostics, (one) => sourceOf(compiled, one));
  return {
    file,
    pipeline,
    source,
    sourceSha256: createHash('sha256').update(content).digest('hex'),
    warnings: diagnostics.map((warning) => printDiagnostic(warning, source)).join('\n\n'),
  };
}

/** Binds the inputs. Throws CliFailure INPUTS_INVALID (exit code 2) with every mistake. */
export function bindPlan(loaded: LoadedPipeline, inputs: GivenInputs, network: Network): Plan {
  const { file, pipeline, source, sourceSha256 } = loaded;
  const { plan, diagnostics } = bindPipeline(pipeline, { inputs, network, sourceSha256, source });
  if (plan === null) throw invalid('INPUTS_INVALID', file, diagnostics, () => source);
  return plan;
}

const INPUTS_FILE = 'The file of --inputs-file';

/** The inputs of a command line: those of the file, then those of `--input`, which go before. */
export function readGivenInputs(options: {
  readonly input: readonly string[];
  readonly inputsFile?: string;
}): GivenInputs {
  const inputs = new Map<string, GivenInput>();
  if (options.inputsFile !== undefined) {
    const entries = readYamlMap(options.inputsFile, INPUTS_FILE, 'task: tiny-ternary-frontier');
    for (const { name, value, place } of entries) inputs.set(name, { value, place });
  }
  const given = readNameValues('--input', options.input, 'task=tiny-ternary-frontier');
  for (const [name, text] of given) {
    inputs.set(name, {
      text: text.startsWith('@') ? readTextFile(text.slice(1), `The file of input ${name}`) : text,
    });
  }
  return inputs;
}

function invalid(
  code: 'PIPELINE_INVALID' | 'INPUTS_INVALID',
  file: string,
  diagnostics: readonly Diagnostic[],
  sourceFor: (diagnostic: Diagnostic) => Source,
): CliFailure {
  const mistakes = diagnostics.filter(({ severity }) => severity === 'error').length;
  const count = mistakes === 1 ? 'a mistake' : `${mistakes} mistakes`;
  const head =
    code === 'PIPELINE_INVALID'
      ? `${file} has ${count}; nothing was started.`
      : `The inputs of ${file} have ${count}; nothing was started.`;
  const told = diagnostics.map((diagnostic) => printDiagnostic(diagnostic, sourceFor(diagnostic)));
  return new CliFailure(code, [head, ...told].join('\n\n'), {
    hint:
      code === 'PIPELINE_INVALID' && file !== STANDARD_INPUT
        ? `\`adit check ${file}\` shows them too.`
        : '',
    exitCode: EXIT.usage,
  });
}
