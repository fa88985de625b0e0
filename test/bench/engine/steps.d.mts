import type { StepSignature } from '../../../compiler/step-signature.js';

export const BENCH_STEPS: readonly StepSignature[];
