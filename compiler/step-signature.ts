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
  /** What it does for a submission; the rules about verdicts and claims go by it. */
  readonly submission?: SubmissionRole;
  /** Outputs, or members of them, that are an input unchanged, by the name of the input: `candidate.artifact`. */
  readonly passes?: { readonly [output: string]: string };
  /** Outputs that are made of one input, by its name: a patch of a workspace. */
  readonly madeOf?: { readonly [output: string]: string };
  /** It works in a workspace of its own; the one that it is given is only read. */
  readonly opensWorkspace?: true;
  /** A step in YAML, as it stands in the documentation; a test checks it. */
  readonly example: string;
}

/**
 * The steps that lead to a submission, with the names of their inputs and outputs: a gate gives a verdict about a
 * candidate and what was made of it; a claim lives for a while; a submission uses both.
 */
export type SubmissionRole =
  | {
      readonly role: 'gate';
      readonly verdict: string;
      readonly candidate: string;
      /** Inputs that the verdict is about, each with the member of the candidate that it is made of. */
      readonly judges: { readonly [input: string]: string };
    }
  | {
      readonly role: 'claim';
      readonly claim: string;
      /** How long it lives, as a duration, and the input that says otherwise. */
      readonly lifetime: string;
      readonly lifetimeInput: string;
    }
  | { readonly role: 'submit'; readonly claim: string; readonly verdict: string }
  | { readonly role: 'cancel'; readonly claim: string };

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
