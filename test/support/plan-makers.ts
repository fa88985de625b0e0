/** Small plans for tests of the interpreter and of the workflow that runs it. */
import type { Expr, Template } from '../../core/expression.js';
import type {
  ActivityStep,
  ForeachStep,
  PipelineStep,
  Plan,
  PlanStep,
  StepOptions,
} from '../../core/plan.js';

export const lit = (value: string | number | boolean): Template => ({ t: 'value', value });

export const expr = (of: Expr): Template => ({ t: 'expr', expr: of });

/** `steps.<id>.<key>` */
export const output = (id: string, key: string): Expr => ({
  op: 'member',
  of: { op: 'member', of: { op: 'name', name: 'steps' }, key: id },
  key,
});

/** Makes steps with these options. */
export function stepMaker(
  options: StepOptions,
): (id: string, overrides?: Partial<ActivityStep>) => ActivityStep {
  return (id, overrides = {}) => ({
    kind: 'step',
    id,
    key: id,
    uses: 'test.step',
    with: [],
    optional: [],
    host: [],
    options,
    ...overrides,
  });
}

/** A block `each` over literal items. */
export function foreachOf(
  items: readonly string[],
  steps: readonly PlanStep[],
  overrides: Partial<ForeachStep> = {},
): ForeachStep {
  return {
    kind: 'foreach',
    id: 'each',
    key: 'each',
    items: { op: 'lit', value: [...items] },
    as: 'item',
    limit: 2,
    fail: 'fast',
    steps,
    ...overrides,
  };
}

/** `inputs.<name>` */
export const input = (name: string): Expr => ({
  op: 'member',
  of: { op: 'name', name: 'inputs' },
  key: name,
});

/** A step that calls a pipeline with these steps. */
export function callOf(
  id: string,
  steps: readonly PlanStep[],
  called: Partial<PipelineStep['called']> = {},
  overrides: Partial<PipelineStep> = {},
): PipelineStep {
  return {
    kind: 'pipeline',
    id,
    key: id,
    with: [],
    called: {
      pipeline: `${id}-file`,
      file: `./${id}.yaml`,
      sourceSha256: '1'.repeat(64),
      inputs: [],
      steps,
      outputs: [],
      ...called,
    },
    ...overrides,
  };
}

export function planOf(...steps: PlanStep[]): Plan {
  return {
    irVersion: 1,
    pipeline: 'test',
    sourceSha256: '0'.repeat(64),
    network: { coordinator: '', hotkey: '' },
    inputs: {},
    steps,
    outputs: [],
  };
}
