import { describe, expect, it } from 'vitest';
import { createTrainingProgress } from './training-progress.js';

describe('createTrainingProgress', () => {
  it('reads key=value words, also when a line comes in pieces', () => {
    const progress = createTrainingProgress();
    progress.readOutput('phase=float step=200 lo');
    progress.readOutput('ss=2.5 elapsed=4.0s\nphase=float st');
    expect(progress.metrics()).toEqual({ step: 200, loss: 2.5, elapsed: 4 });
    progress.readOutput('ep=400 loss=2.25 elapsed=8.0s\n');
    expect(progress.status()).toEqual({ phase: 'float', step: 400, loss: 2.25, elapsed: 8 });
  });

  it('computes the time left from step, total and elapsed', () => {
    const progress = createTrainingProgress();
    progress.readOutput('step=100/400 loss=2 elapsed=10\n');
    expect(progress.status()).toMatchObject({ step: 100, total: 400, eta: 30 });
  });

  it("takes the trainer's own eta where it gives one", () => {
    const progress = createTrainingProgress();
    progress.readOutput('step=1 total=10 elapsed=1 eta=99\n');
    expect(progress.status()['eta']).toBe(99);
  });

  it('reads the metrics file and ignores what is not a JSON object of numbers', () => {
    const progress = createTrainingProgress();
    progress.readMetrics(
      'garbage\n[1]\n{"loss": 1.5, "note": "x", "bad": NaN}\n{"loss": 1.25, "lr": 1e-3}\n',
    );
    expect(progress.metrics()).toEqual({ loss: 1.25, lr: 0.001 });
  });

  it('reads numbers at the place that a pattern names', () => {
    const progress = createTrainingProgress({ bits: 'val: {} bits', perplexity: 'ppl is' });
    progress.readOutput('val: 1.75 bits, ppl is 3.5 now\nval: 9 nats\n');
    expect(progress.metrics()).toEqual({ bits: 1.75, perplexity: 3.5 });
    expect(progress.status()).toMatchObject({ bits: 1.75, perplexity: 3.5 });
  });

  it('leaves out what is not a finite number', () => {
    const progress = createTrainingProgress();
    progress.readOutput('loss=nan step=v2 version=1.2.3 gain=1e999 url=a=b\n');
    expect(progress.metrics()).toEqual({});
  });

  it('stays bounded on endless lines and endless names', () => {
    const progress = createTrainingProgress();
    for (let i = 0; i < 100; i += 1) progress.readOutput('x'.repeat(100_000));
    progress.readOutput('\n');
    for (let i = 0; i < 1_000; i += 1) progress.readOutput(`m${i}=1\n`);
    expect(Object.keys(progress.metrics())).toHaveLength(64);
  });

  it('shows the last line, made harmless, when nothing else is known', () => {
    const progress = createTrainingProgress();
    progress.readOutput('\u001b[31mloading\u001b[0m\n');
    expect(progress.status()).toEqual({ output: '[31mloading [0m' });
  });
});
