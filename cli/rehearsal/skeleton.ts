/** The rehearsal file that `adit rehearse` writes where there is none. */
import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { stringify } from 'yaml';
import type { CheckedPipeline } from '../../compiler/check.js';
import { printType } from '../../compiler/types.js';
import { StepNames } from '../../testing/step-names.js';
import { exampleOutputs } from '../../testing/written-type.js';
import { demoInputs, DEMO_TASKS } from '../demo-inputs.js';
import { schemasFrom } from '../schemas-from.js';

/** Writes one that fits the shipped task, for its author to go on with. Throws as Node does, also where there is one. */
export function writeSkeleton(file: string, pipeline: CheckedPipeline): void {
  writeFileSync(file, skeletonOf(pipeline, schemasFrom(dirname(file))), { flag: 'wx' });
}

/** `schemas` is the path of the folder of schemas from that of the file. */
export function skeletonOf(pipeline: CheckedPipeline, schemas: string): string {
  return `# yaml-language-server: $schema=${schemas}/rehearse.schema.json
#
# What \`adit rehearse\` plays this pipeline with, on the local network: never a real task, key or network.
# docs/rehearse.md tells more.

inputs:
${indent(inputLines(pipeline)) || '  {}\n'}
${standIns(pipeline)}
# What must be so after every run, whatever goes wrong in it; Adit's own rules hold besides.
rules:
  claims_once: size(claims) <= 1 || 'cancel_and_retry' in faults

# Longest time for one run.
limit: 3m
`;
}

function inputLines({ inputs }: CheckedPipeline): string {
  const [task] = DEMO_TASKS;
  const known = demoInputs(task);
  const lines = inputs.map(({ name, type, required }) => {
    const value = known[name];
    if (value !== undefined) {
      const text = name === 'train' ? String(value).replace('default', 'fast') : value;
      return stringify({ [name]: text }, { lineWidth: 0 });
    }
    return required
      ? `${name}: # ${printType(type)}: write one\n`
      : `# ${name}: ${printType(type)}, has a default\n`;
  });
  return lines.join('');
}

/** Nobody answers in a rehearsal, and it has no time for a pause. */
function standIns({ steps }: CheckedPipeline): string {
  const names = new StepNames(steps);
  const lines = names.all.flatMap(({ path, step, turns }) => {
    if (step === null || turns.length > 0) return [];
    const name = stringify({ [names.nameOf(path)]: 0 }).replace(/: 0\n$/, '');
    if (step.kind === 'wait') return [`${name}: {}\n`];
    if (step.kind !== 'approve') return [];
    const asked = step.fields.filter(
      ({ required, default: instead }) => required && instead === undefined,
    );
    const fields = new Map(
      asked.map((field) => [field.name, { type: field.type, optional: false, summary: '' }]),
    );
    return [`${name}: ${exampleOutputs({ kind: 'record', label: '', fields })}\n`];
  });
  const head =
    '# Steps that cannot be played here (people, waits, networks of others): what they give instead.\n';
  if (lines.length > 0) return `${head}steps:\n${indent(lines.join(''))}`;
  return `${head}# steps:\n#   approval: { outputs… }\n`;
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}
