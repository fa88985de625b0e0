import type { JsonObject } from '../../core/json.js';
import type { RunView } from '../../core/run-view.js';
import type { RunFacts } from '../../rehearse/facts.js';
import type { RehearsedRun } from '../../testing/rehearsal-rules.js';

/** What is known of a run when it is over, as the author's own rules see it; `view` is null where nobody knows the run. */
export function toRehearsedRun(
  facts: RunFacts,
  view: RunView | null,
  played: { readonly inputs: JsonObject; readonly faults: readonly string[] },
): RehearsedRun {
  return {
    ...played,
    status: facts.end?.status ?? 'running',
    error: view?.error,
    outputs: { ...view?.outputs },
    steps: view?.steps ?? [],
    claims: facts.claims,
    submissions: facts.submissions.map(({ effectKey, ...submission }) => ({
      ...submission,
      path: effectKey === null ? null : pathOf(effectKey),
    })),
    effects: facts.effects.map(({ stepPath, ...effect }) => ({ ...effect, path: stepPath })),
    programs: facts.programs.map(({ stepPath, endedAtMs, failed }) => ({
      path: stepPath,
      ended: endedAtMs !== null,
      failed,
    })),
    counted: facts.counted,
  };
}

/** An effect's key is the round and the path of its step. */
function pathOf(effectKey: string): string {
  return effectKey.slice(effectKey.indexOf(' ') + 1);
}
