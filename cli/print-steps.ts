import { STEP_TYPES } from '../activities/registry.js';
import {
  describeStep,
  type FieldDescription,
  type StepDescription,
} from '../compiler/reference.js';
import { suggestHint } from '../compiler/suggest.js';
import { isStepErrorCode, STEP_ERRORS, type StepErrorRule } from '../core/error.js';
import { CliFailure, EXIT } from './failure.js';
import { clean, paint, print, printJson } from './output.js';

/** Prints the list of step types, or one of them in full. Throws STEP_TYPE_UNKNOWN (exit code 2) for another name. */
export function printSteps(type: string | undefined, options: { readonly json: boolean }): void {
  const chosen = type === undefined ? STEP_TYPES : STEP_TYPES.filter(({ name }) => name === type);
  if (type !== undefined && chosen.length === 0) {
    const names = STEP_TYPES.map(({ name }) => name);
    throw new CliFailure('STEP_TYPE_UNKNOWN', `There is no step type ${clean(type, 100)}.`, {
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
  if (step.program) print('It runs a program, which may lease devices: `on: { gpus: 1 }`.');
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
    const width = Math.max(...step.errors.map((code) => code.length));
    for (const code of step.errors) print(`  ${code.padEnd(width)}  ${paint.dim(fate(code))}`);
    print(paint.dim('  and the codes of the engine, which any step can end with: docs/errors.md'));
  }
  print();
  print(paint.bold('Example'));
  for (const line of step.example.split('\n')) print(`  ${line}`);
}

/** What becomes of a step, and so of its run, that ends with this code and has no `catch` around it. */
function fate(code: string): string {
  if (!isStepErrorCode(code)) return '';
  const rule: StepErrorRule = STEP_ERRORS[code];
  const end = { failed: 'the run fails', stopped: 'the run stops', asks: 'a person is asked' };
  if (rule.restart === true) return `started again at once, at last ${end[rule.ends]}`;
  return rule.retryable ? `tried again, at last ${end[rule.ends]}` : end[rule.ends];
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
