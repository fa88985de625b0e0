/** How much better a candidate is than its baseline, and in which unit. */
export interface Gain {
  /** Positive when the candidate is better. NaN when a perplexity is not positive. */
  readonly gain: number;
  /** `nats` for a perplexity, otherwise the metric's own name. */
  readonly unit: string;
}

export type MetricDirection = 'minimize' | 'maximize';

/** True for a metric that is compared by the logarithm of its ratio. */
function isPerplexity(metricName: string): boolean {
  return /ppl|perplexity/i.test(metricName);
}

/**
 * The gain of `candidate` over `baseline`. A perplexity is compared in nats, ln(baseline / candidate)
 * (task-repositories section 16, step 8), any other metric as a difference in its own unit.
 */
export function measureGain(
  metricName: string,
  direction: MetricDirection,
  baseline: number,
  candidate: number,
): Gain {
  const sign = direction === 'minimize' ? 1 : -1;
  if (isPerplexity(metricName)) {
    const usable = baseline > 0 && candidate > 0;
    return { gain: usable ? sign * Math.log(baseline / candidate) : NaN, unit: 'nats' };
  }
  return { gain: sign * (baseline - candidate), unit: metricName };
}

/** True when the first value is strictly better than the second. */
export function isBetter(direction: MetricDirection, value: number, than: number): boolean {
  return direction === 'minimize' ? value < than : value > than;
}
