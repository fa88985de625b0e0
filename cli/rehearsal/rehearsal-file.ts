/** The rehearsal file beside a pipeline, from the disk to what a run needs of it. */
import { existsSync } from 'node:fs';
import { STEP_TYPES } from '../../activities/registry.js';
import { printDiagnostic } from '../../compiler/diagnostic.js';
import type { RunState } from '../../core/run-state.js';
import { FAULT_NAMES } from '../../rehearse/fault.js';
import { INVARIANTS } from '../../rehearse/invariants.js';
import { OUTCOME_RULES } from '../../rehearse/right-outcomes.js';
import {
  compileRehearsalFile,
  withAddress,
  type CompiledRehearsal,
  type Rehearsal,
} from '../../testing/rehearsal-file.js';
import type { RuleWords } from '../../testing/rehearsal-rules.js';
import { CliFailure, EXIT } from '../failure.js';
import type { GivenInputs, LoadedPipeline } from '../load-plan.js';
import { clean } from '../output.js';
import { readPipelineFile } from '../read-file.js';

/** Its name for a pipeline file. */
export function rehearsalFileOf(pipelineFile: string): string {
  return `${pipelineFile.replace(/\.ya?ml$/, '')}.rehearse.yaml`;
}

/** What a rehearsal file may name of the rehearsal itself. */
export const RULE_WORDS: RuleWords = {
  faults: FAULT_NAMES,
  rules: [...Object.keys(INVARIANTS), ...OUTCOME_RULES],
};

/** Null where there is none. Throws CliFailure REHEARSAL_INVALID (exit code 2) with every mistake. */
export async function readRehearsalFile(
  file: string,
  { pipeline, source }: LoadedPipeline,
): Promise<Rehearsal | null> {
  if (!existsSync(file)) return null;
  const content = await readPipelineFile(file, 'The rehearsal file');
  const compiled = compileRehearsalFile(content, file, {
    pipeline,
    source,
    signatures: STEP_TYPES,
    words: RULE_WORDS,
  });
  if (compiled.rehearsal === null) throw invalid(file, compiled);
  return compiled.rehearsal;
}

/** The inputs for a run on a network. */
export function inputsFor({ inputs }: Rehearsal, coordinator: string): GivenInputs {
  return new Map(
    Object.entries(inputs).map(([name, value]) => [
      name,
      { value: withAddress(value, coordinator) },
    ]),
  );
}

/** The state with which a run begins where steps are not played; null where all are. */
export function standInState({ standIns }: Rehearsal): RunState | null {
  if (standIns.length === 0) return null;
  const states = standIns.map(
    ({ path, uses, outputs }) =>
      [path, { status: 'succeeded', uses, attempts: 1, outputs }] as const,
  );
  return { steps: Object.fromEntries(states) };
}

function invalid(file: string, { diagnostics, source }: CompiledRehearsal): CliFailure {
  const count = diagnostics.length === 1 ? 'a mistake' : `${diagnostics.length} mistakes`;
  const told = diagnostics.map((one) => printDiagnostic(one, source));
  const head = `${clean(file)} has ${count}; nothing was played.`;
  return new CliFailure('REHEARSAL_INVALID', [head, ...told].join('\n\n'), {
    hint: 'docs/rehearse.md tells what it may hold.',
    exitCode: EXIT.usage,
  });
}
