import { STEP_TYPES } from '../activities/registry.js';
import {
  describeStep,
  type FieldDescription,
  type StepDescription,
} from '../compiler/reference.js';
import { suggestHint } from '../compiler/suggest.js';
import { CliFailure, EXIT } from './failure.js';
import { paint, print, printJson } from './output.js';

/** Prints the list of step types, or one of them in full. Throws STEP_TYPE_UNKNOWN (exit code 2) for another name. */
export function printSteps(type: string | undefined, options: { readonly json: boolean }): void {
  const chosen = type === undefined ? STEP_TYPES : STEP_TYPES.filter(({ name }) => name === type);
  if (type !== undefined && chosen.length === 0) {
    const names = STEP_TYPES.map(({ name }) => name);
    throw new CliFailure('STEP_TYPE_UNKNOWN', `There is no step type ${type}.`, {
      hint: suggestHint(type, names, '`adit steps` lists them.'),
      exitCode: EXIT.usage,
    });
  }
  const steps = chosen.map(describeStep);
  if (options.json) printJson({ steps });
  else if (type === undefined) printList(steps);
  else steps.forEach(printStep);
}

function printList(steps: readonly StepDescription[]): void {
  const width = Math.max(...steps.map(({ name }) => name.length));
  for (const { name, summary } of steps) print(`${paint.bold(name.padEnd(width))}  ${summary}`);
  print();
  print('`adit steps TYPE` shows inputs, outputs, errors and an example.');
}

function printStep(step: StepDescription): void {
  const { retry, timeout, attemptTimeout, heartbeat } = step.defaults;
  print(paint.bold(step.name));
  print(step.summary);
  if (step.effect) print('It changes something outside that cannot be taken back.');
  printFields('Inputs', step.inputs);
  printFields('Outputs', step.outputs);
  print();
  print(paint.bold('Defaults'));
  print(`  timeout ${timeout}`);
  if (attemptTimeout !== null) print(`  attempt_timeout ${attemptTimeout}`);
  if (heartbeat !== null) print(`  heartbeat ${heartbeat}`);
  print(
    `  retry attempts ${retry.attempts}, first ${retry.first}, factor ${retry.factor}, most ${retry.most}`,
  );
  if (step.errors.length > 0) {
    print();
    print(paint.bold('Errors'));
    for (const code of step.errors) print(`  ${code}`);
  }
  print();
  print(paint.bold('Example'));
  for (const line of step.example.split('\n')) print(`  ${line}`);
}

function printFields(title: string, fields: readonly FieldDescription[]): void {
  print();
  print(paint.bold(title));
  if (fields.length === 0) print('  none');
  for (const field of fields) {
    const note =
      field.default === undefined
        ? field.optional
          ? ', optional'
          : ''
        : `, default ${JSON.stringify(field.default)}`;
    print(`  ${field.name} (${field.type}${note})`);
    if (field.summary !== '') print(paint.dim(`    ${field.summary}`));
  }
}
