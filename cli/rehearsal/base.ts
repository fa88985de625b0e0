/** What a run without a fault leaves on its site, so that another run there can begin right before the first effect. */
import { createEvidence } from '../../adapters/evidence/evidence.js';
import { isJsonObject, type JsonObject } from '../../core/json.js';
import type { Plan } from '../../core/plan.js';
import { toRetryState } from '../../core/retry-state.js';
import type { RunState } from '../../core/run-state.js';
import { boundariesOf, effectPaths } from '../../rehearse/boundary.js';
import { prefixLength } from '../../rehearse/prefix.js';
import { queryWholeState } from '../run-parts.js';
import { stepsOf } from '../run-terms.js';
import type { Session } from '../session.js';
import { eventOf, type JournalLine } from './journals.js';

const QUERY_TIMEOUT_MS = 20_000;

export interface Base {
  /** The run that made it. */
  readonly runId: string;
  /** Everything before the first effect, as `adit retry --from` keeps it. */
  readonly state: RunState;
  /** What was written down until then. */
  readonly lines: readonly JournalLine[];
}

/** Null where the pipeline has no effect, or nothing comes before it. */
export async function readBase(
  session: Session,
  runId: string,
  plan: Plan,
  lines: readonly JournalLine[],
): Promise<Base | null> {
  const ordered = lines
    .filter((line) => eventOf(line) !== null)
    .sort((one, other) => one.atMs - other.atMs);
  const trace = ordered.flatMap((line) => eventOf(line) ?? []);
  // What was published is one too: the network of the next run has forgotten it.
  const effects = new Set(
    [...effectPaths(boundariesOf(trace))].map((one) => one.replaceAll(/#\d+/g, '')),
  );
  const first = stepsOf(plan.steps, '').find(
    ({ path, step }) => step.kind === 'step' && (step.effect === true || effects.has(path)),
  );
  if (first === undefined) return null;
  const states = await queryWholeState(session, runId, { timeoutMs: QUERY_TIMEOUT_MS });
  const state = toRetryState(plan, states, first.path, await recordedOutputs(session, runId));
  // Items of lists have no record of their own; their steps have.
  const kept = Object.entries(state.steps).flatMap(([path, { uses, status }]) =>
    status === 'succeeded' && uses.includes('.') ? [path] : [],
  );
  const length = prefixLength(trace, kept);
  return length === 0 ? null : { runId, state, lines: ordered.slice(0, length) };
}

async function recordedOutputs(
  { settings }: Session,
  runId: string,
): Promise<{ readonly [path: string]: JsonObject }> {
  const records = await createEvidence(settings.stateDir).readSteps(runId);
  return Object.fromEntries(
    records.flatMap(({ path, status, outputs }) =>
      typeof path === 'string' && status === 'succeeded' && isJsonObject(outputs)
        ? [[path, outputs]]
        : [],
    ),
  );
}
