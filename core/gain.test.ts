import { describe, expect, it } from 'vitest';
import { isBetter, measureGain } from './gain.js';

describe('measureGain', () => {
  it('compares perplexities in nats', () => {
    expect(measureGain('heldout_ppl', 'minimize', 8, 4)).toEqual({
      gain: Math.log(2),
      unit: 'nats',
    });
    expect(measureGain('val_perplexity', 'minimize', 4, 8).gain).toBeCloseTo(-Math.log(2));
  });

  it('compares other metrics in their own unit and direction', () => {
    expect(measureGain('val_bpb', 'minimize', 1.5, 1.25)).toEqual({ gain: 0.25, unit: 'val_bpb' });
    expect(measureGain('accuracy', 'maximize', 0.5, 0.75)).toEqual({
      gain: 0.25,
      unit: 'accuracy',
    });
  });

  it('has no gain to tell for a perplexity that is not positive', () => {
    expect(measureGain('heldout_ppl', 'minimize', 0, 4).gain).toBeNaN();
  });
});

describe('isBetter', () => {
  it('follows the direction and is strict', () => {
    expect(isBetter('minimize', 1, 2)).toBe(true);
    expect(isBetter('maximize', 1, 2)).toBe(false);
    expect(isBetter('maximize', 2, 2)).toBe(false);
  });
});
