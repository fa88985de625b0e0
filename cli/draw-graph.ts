/** The steps of a plan as a Mermaid flowchart, with the states of a run where there are any. */
import type { Expr, Template } from '../core/expression.js';
import { catchInfix } from '../core/inner-blocks.js';
import type { PlanStep } from '../core/plan.js';
import { toPattern } from '../core/plan-paths.js';
import type { StepStatus } from '../core/run-state.js';
import { printExpression } from '../compiler/print-expression.js';
import { clean } from './output.js';

/** What is known of a step's path in a run. */
export interface StepStateOf {
  readonly path: string;
  readonly status: StepStatus;
}

/** The status that stands for many items, the one that matters most first; with its colours. */
const COLORS: Readonly<Record<StepStatus, string>> = {
  failed: 'fill:#f8d7da,stroke:#b02a37,color:#000',
  parked: 'fill:#fff3cd,stroke:#997404,color:#000',
  running: 'fill:#cfe2ff,stroke:#0a58ca,color:#000',
  cancelled: 'fill:#e2e3e5,stroke:#41464b,color:#000',
  stopped: 'fill:#ffe5d0,stroke:#984c0c,color:#000',
  pending: 'fill:#fff,stroke:#adb5bd,color:#6c757d,stroke-dasharray:4',
  succeeded: 'fill:#d1e7dd,stroke:#146c43,color:#000',
  skipped: 'fill:#fff,stroke:#adb5bd,color:#6c757d',
};

const STATUSES = Object.keys(COLORS) as StepStatus[];

/** Longest condition, question or reason in a box, in characters. */
const MAX_TEXT = 60;

/** `states` are those of a run, by path; null for a pipeline that is only looked at. */
export function drawGraph(
  steps: readonly PlanStep[],
  states: readonly StepStateOf[] | null,
): string {
  const drawing = new Drawing(states);
  drawing.list(steps, '', 1);
  return drawing.text();
}

class Drawing {
  readonly #lines: string[] = ['flowchart TD'];
  readonly #states: ReadonlyMap<string, readonly StepStatus[]> | null;
  readonly #classes = new Map<StepStatus, string[]>();
  #count = 0;

  constructor(states: readonly StepStateOf[] | null) {
    if (states === null) {
      this.#states = null;
      return;
    }
    const byPattern = new Map<string, StepStatus[]>();
    for (const { path, status } of states) {
      const pattern = toPattern(path);
      const known = byPattern.get(pattern);
      if (known === undefined) byPattern.set(pattern, [status]);
      else known.push(status);
    }
    this.#states = byPattern;
  }

  text(): string {
    for (const [status, nodes] of this.#classes) {
      this.#line(1, `classDef ${status} ${COLORS[status]}`);
      this.#line(1, `class ${nodes.join(',')} ${status}`);
    }
    return `${this.#lines.join('\n')}\n`;
  }

  /** Draws steps that follow each other; returns the last of them. */
  list(steps: readonly PlanStep[], prefix: string, depth: number): string {
    let before = '';
    for (const step of steps) {
      const node = this.#step(step, prefix, depth);
      if (before !== '') this.#line(depth, `${before} --> ${node}`);
      before = node;
    }
    return before;
  }

  #step(step: PlanStep, prefix: string, depth: number): string {
    const path = `${prefix}${step.key}`;
    const name = step.id === undefined ? '' : step.id;
    const guard = step.if === undefined ? [] : [`if ${toText(step.if)}`];
    const box = (open: string, words: string, close: string): string =>
      this.#box(path, [name, words, ...guard], [open, close], depth);
    const frame = (words: string, draw: (depth: number) => void): string =>
      this.#frame(
        path,
        [[name, words].filter((word) => word !== '').join(': '), ...guard],
        draw,
        depth,
      );
    switch (step.kind) {
      case 'step':
        return step.effect === true ? box('[[', step.uses, ']]') : box('[', step.uses, ']');
      case 'approve':
        return box('{{', ['approve', templateText(step.summary)].filter(Boolean).join(': '), '}}');
      case 'wait':
        return box(
          '([',
          step.until === undefined
            ? `wait ${templateText(step.for)}`
            : `wait until ${templateText(step.until)}`,
          '])',
        );
      case 'stop':
        return box('([', `stop: ${templateText(step.reason)}`, '])');
      case 'foreach': {
        const limit = step.limit === 1 ? '' : `, ${step.limit} at a time`;
        return frame(`foreach ${step.as} in ${toText(step.items)}${limit}`, (inner) => {
          this.list(step.steps, `${path}#*/`, inner);
        });
      }
      case 'repeat': {
        const until = step.until === undefined ? '' : ` until ${toText(step.until)}`;
        return frame(`repeat${until}, at most ${step.limit} times`, (inner) => {
          this.list(step.steps, `${path}#*/`, inner);
        });
      }
      case 'parallel':
        return frame('parallel', (inner) => {
          const nodes = step.branches.map((branch) => this.#step(branch.step, `${path}/`, inner));
          step.branches.forEach(({ needs }, at) => {
            for (const needed of needs)
              this.#line(inner, `${nodes[needed] ?? ''} --> ${nodes[at] ?? ''}`);
          });
        });
      case 'if':
        return frame(`if ${toText(step.test)}`, (inner) => {
          this.#part('then', step.then, `${path}/then/`, inner);
          if (step.else.length > 0) this.#part('else', step.else, `${path}/else/`, inner);
        });
      case 'try':
        return frame('try', (inner) => {
          const last = this.list(step.steps, `${path}/`, inner);
          (step.catch ?? []).forEach(({ errors, steps }, at) => {
            const title = errors === undefined ? 'catch' : `catch ${errors.join(', ')}`;
            const part = this.#part(title, steps, `${path}${catchInfix(at)}`, inner);
            this.#line(inner, `${last} -. on failure .-> ${part}`);
          });
          if (step.finally.length === 0) return;
          const part = this.#part('finally', step.finally, `${path}/finally/`, inner);
          this.#line(inner, `${last} -. whatever happens .-> ${part}`);
        });
      case 'pipeline':
        return frame(step.called.file, (inner) => {
          this.list(step.called.steps, `${path}/`, inner);
        });
    }
  }

  #box(
    path: string,
    words: readonly string[],
    [open, close]: readonly [string, string],
    depth: number,
  ): string {
    const node = this.#name();
    const lines = [...words.filter((word) => word !== ''), ...this.#state(node, path)];
    this.#line(depth, `${node}${open}"${lines.map(escape).join('<br/>')}"${close}`);
    return node;
  }

  #frame(
    path: string,
    words: readonly string[],
    draw: (depth: number) => void,
    depth: number,
  ): string {
    const node = this.#name();
    const lines = [...words, ...this.#state(node, path)];
    this.#line(depth, `subgraph ${node} ["${lines.map(escape).join('<br/>')}"]`);
    draw(depth + 1);
    this.#line(depth, 'end');
    return node;
  }

  /** A list of a block that has several; it has no state of its own. */
  #part(title: string, steps: readonly PlanStep[], prefix: string, depth: number): string {
    const node = this.#name();
    this.#line(depth, `subgraph ${node} ["${escape(title)}"]`);
    this.list(steps, prefix, depth + 1);
    this.#line(depth, 'end');
    return node;
  }

  /** What became of it, in words, with its colour; nothing where there is no run. */
  #state(node: string, path: string): string[] {
    if (this.#states === null) return [];
    const found = this.#states.get(path) ?? [];
    const counts = STATUSES.map(
      (status) => [status, found.filter((one) => one === status).length] as const,
    ).filter(([, count]) => count > 0);
    const status = counts[0]?.[0] ?? 'pending';
    this.#classes.set(status, [...(this.#classes.get(status) ?? []), node]);
    if (found.length < 2) return [status];
    return [counts.map(([one, count]) => `${count} ${one}`).join(', ')];
  }

  #name(): string {
    this.#count += 1;
    return `s${this.#count}`;
  }

  #line(depth: number, text: string): void {
    this.#lines.push(`${'  '.repeat(depth)}${text}`);
  }
}

function toText(expr: Expr): string {
  return short(printExpression(expr).replace(/^\(((?:[^()]|\([^()]*\))*)\)$/, '$1'));
}

function templateText(template: Template | undefined): string {
  return template === undefined ? '' : short(printTemplate(template));
}

function printTemplate(template: Template): string {
  switch (template.t) {
    case 'value':
      return typeof template.value === 'string' ? template.value : JSON.stringify(template.value);
    case 'expr':
      return printExpression(template.expr);
    case 'text':
      return template.parts
        .map((part) => (typeof part === 'string' ? part : `{${printExpression(part)}}`))
        .join('');
    case 'list':
    case 'map':
      return '…';
  }
}

function short(text: string): string {
  const line = clean(text, MAX_TEXT * 4).replaceAll(/\s+/g, ' ');
  return line.length <= MAX_TEXT ? line : `${line.slice(0, MAX_TEXT - 1)}…`;
}

/** Text inside the quotes of a Mermaid label: nothing of it may end them, or be markup. */
function escape(text: string): string {
  return clean(text).replaceAll(/["#&<>`;]/g, (char) => `#${char.charCodeAt(0)};`);
}
