import type { Plan, PlanStep } from '../../core/plan.js';
import { Draw } from './draw.js';
import { foreachOf, lit, planOf, stepMaker } from './plan-makers.js';

const step = stepMaker({
  timeoutMs: 10 ** 10,
  retry: { attempts: 2, firstMs: 1_000, factor: 1, mostMs: 1_000, never: [] },
});

/** Draws plans: lists of steps, nested up to twice, whose conditions are literals. */
export class PlanDraw extends Draw {
  #ids = 0;

  plan(): Plan {
    return planOf(...this.#list(2));
  }

  #list(depth: number): PlanStep[] {
    return Array.from({ length: 1 + this.below(depth === 2 ? 3 : 2) }, () => this.#step(depth));
  }

  #step(depth: number): PlanStep {
    const id = `s${this.#ids++}`;
    const base = { id, key: id };
    const value = { op: 'lit', value: this.below(2) === 0 } as const;
    switch (depth === 0 ? 9 + this.below(4) : this.below(13)) {
      case 0:
      case 1:
        return foreachOf(['x', 'y', 'z'].slice(this.below(2)), this.#list(depth - 1), {
          ...base,
          limit: 1 + this.below(3),
          fail: this.of(['fast', 'wait']),
          collect: { op: 'lit', value: 1 },
        });
      case 2: {
        const until = this.below(2) === 0 ? { until: value } : {};
        const every = this.below(2) === 0 ? { everyMs: 1_000 * this.below(2_000) } : {};
        const limit = 1 + this.below(3);
        const steps = this.#list(depth - 1);
        const collect = { op: 'lit', value: 1 } as const;
        return { ...base, kind: 'repeat', limit, ...until, ...every, collect, steps };
      }
      case 3:
      case 4: {
        const branches = Array.from({ length: 2 + this.below(3) }, (_one, index) => ({
          step: this.#step(depth - 1),
          needs: Array.from({ length: index }, (_none, at) => at).filter(() => this.below(3) === 0),
        }));
        const limit = 1 + this.below(4);
        return { ...base, kind: 'parallel', limit, fail: this.of(['fast', 'wait']), branches };
      }
      case 5:
      case 6:
      case 7: {
        const errors = this.below(2) === 0 ? { errors: ['DISK_FULL'] } : {};
        const clause = { ...errors, as: 'error', steps: this.#list(depth - 1) };
        return {
          ...base,
          kind: 'try',
          steps: this.#list(depth - 1),
          catch: this.below(2) === 0 ? [clause] : [],
          finally: this.#list(0),
        };
      }
      case 8: {
        const then = this.#list(depth - 1);
        return { ...base, kind: 'if', test: value, then, else: this.#list(depth - 1) };
      }
      case 9:
        return this.below(3) === 0
          ? { ...base, kind: 'stop', reason: lit('enough') }
          : { ...base, kind: 'wait', for: lit(`${1 + this.below(500)}s`) };
      case 10:
        return step(id, { if: value });
      case 11:
        return step(id, { options: { ...step('').options, onFailure: 'ask' } });
      default:
        return step(id);
    }
  }
}
