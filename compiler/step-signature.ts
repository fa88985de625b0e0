import type { z } from 'zod';
import type { StepErrorCode } from '../core/error.js';

/** What an author sees of a step type; the checker, the documentation and the Plan are derived from it. */
export interface StepSignature<
  Input extends z.ZodObject = z.ZodObject,
  Output extends z.ZodObject = z.ZodObject,
> {
  /** `family.verb`; also the Temporal activity type: it is in histories, so it never changes. */
  readonly name: string;
  /** One sentence. */
  readonly summary: string;
  readonly input: Input;
  readonly output: Output;
  readonly defaults: StepDefaults;
  /** The codes that this step type itself raises; those of the engine are common to all. */
  readonly errors: readonly StepErrorCode[];
  /** True when the step changes something outside that cannot be taken back (a claim, a submission). */
  readonly effect?: boolean;
  /** True when the step runs a program: its `timeout` is then run time, and `on: { gpus }` is allowed. */
  readonly program?: true;
  /** Inputs that are bare CEL over `metrics` (a map of numbers) and nothing else, such as `stop_when`: checked as such. */
  readonly metricConditions?: readonly string[];
  /**
   * Paths in the input that hold a `Workspace`, in order of preference: the step runs on that
   * workspace's host. Absent: any worker may run it.
   */
  readonly host?: ReadonlyArray<readonly string[]>;
  /**
   * Name of an input, a map from names to `string`, `int`, `number` or `bool`, that declares the members of
   * the output of the same name.
   */
  readonly typedOutput?: string;
  /** A step in YAML, as it stands in the documentation; a test checks it. */
  readonly example: string;
}

interface StepDefaults {
  /** For the whole step, as a duration. */
  readonly timeout: string;
  readonly attemptTimeout?: string;
  /** Required of a step that may outlast a minute: cancellation reaches an activity only through it. */
  readonly heartbeat?: string;
  readonly retry?: {
    readonly attempts?: number;
    readonly first?: string;
    readonly factor?: number;
    readonly most?: string;
  };
}
