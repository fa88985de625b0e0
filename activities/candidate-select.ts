import { z } from 'zod';
import { candidateSchema } from '../compiler/values.js';
import { StepError } from '../core/error.js';
import { isBetter, measureGain } from '../core/gain.js';
import { defineStep } from './step-type.js';

export const candidateSelect = defineStep({
  name: 'candidate.select',
  summary:
    "Picks the candidate with the best metric, in the task's direction, and tells its gain over the baseline.",
  input: z.object({
    baseline: candidateSchema.describe('What to compare with.'),
    candidates: z
      .array(candidateSchema)
      .describe('Measured candidates; of equals the first is taken.'),
  }),
  output: z.object({
    candidate: candidateSchema.describe(
      'The best candidate, also when it is worse than the baseline: the gate decides.',
    ),
    gain: z.number().describe('Gain over the baseline in `gain_unit`, positive when better.'),
    gain_unit: z.string().describe("`nats` for a perplexity, otherwise the metric's own unit."),
  }),
  defaults: { timeout: '1m' },
  errors: ['NO_CANDIDATE', 'METRIC_NOT_FINITE', 'STEP_INPUT_INVALID'],
  example: `
- id: best
  uses: candidate.select
  with: { baseline: "\${{ steps.baseline.candidate }}", candidates: "\${{ steps.candidates.results }}" }
`,
  run: async ({ baseline, candidates }) => {
    const { metric, direction, value } = baseline.measurement;
    let best = candidates[0];
    if (best === undefined) {
      throw new StepError('NO_CANDIDATE', 'There is no candidate to select from.', {
        hint: 'Every recipe failed, or the list of recipes is empty; `adit show` tells why.',
      });
    }
    for (const candidate of candidates) {
      const { measurement } = candidate;
      if (measurement.metric !== metric || measurement.direction !== direction) {
        throw new StepError(
          'STEP_INPUT_INVALID',
          `A candidate was measured in ${measurement.metric} (${measurement.direction}), the baseline in ${metric} (${direction}).`,
        );
      }
      if (isBetter(direction, measurement.value, best.measurement.value)) best = candidate;
    }
    const { gain, unit } = measureGain(metric, direction, value, best.measurement.value);
    if (!Number.isFinite(gain)) {
      throw new StepError(
        'METRIC_NOT_FINITE',
        `The gain from ${value} to ${best.measurement.value} ${metric} cannot be computed.`,
        {
          hint: 'A perplexity must be positive.',
        },
      );
    }
    return { candidate: best, gain, gain_unit: unit };
  },
});
