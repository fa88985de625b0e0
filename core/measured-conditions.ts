import { isJsonObject, type Json, type JsonObject } from './json.js';

/** What a result file says of how it was measured: the values whose digests are in a fingerprint. */
export interface MeasuredConditions {
  readonly heldout: Json;
  readonly runtime: Json;
  readonly device: string;
}

export function measuredConditions(content: JsonObject): MeasuredConditions {
  const runtime = content['runtime'] ?? null;
  const device = isJsonObject(runtime) ? runtime['device'] : undefined;
  return {
    heldout: content['dataset_handle'] ?? null,
    runtime: withoutTimings(runtime),
    device: typeof device === 'string' ? device : 'unknown',
  };
}

/** How long something took is a result, not a condition of the measurement: it differs each time. */
function withoutTimings(runtime: Json): Json {
  if (!isJsonObject(runtime)) return runtime;
  return Object.fromEntries(
    Object.entries(runtime).filter(([name]) => name !== 'speedup' && !name.endsWith('_seconds')),
  );
}
