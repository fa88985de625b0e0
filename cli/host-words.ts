import type { HostDevice } from '../core/host-protocol.js';
import type { JsonObject } from '../core/json.js';
import type { ReachedHost } from './hosts.js';
import { clean, paint } from './output.js';

/** A process host as `--json` prints it; the shape is public (docs/cli.md). */
export function hostToJson({ stateDir, info }: Pick<ReachedHost, 'stateDir' | 'info'>): JsonObject {
  return {
    id: info.hostId,
    stateDir,
    pid: info.pid,
    build: info.build,
    startedAt: new Date(info.startedAtMs).toISOString(),
    containment: info.containment,
    promise: info.promise,
    devices: info.devices.map(({ id, state, holder }) => ({ id, state, holder: holder ?? null })),
  };
}

/** Whose it is, for people. */
export function hostHead({ stateDir, info }: Pick<ReachedHost, 'stateDir' | 'info'>): string {
  return `${paint.bold('process host')}  process ${info.pid}, build ${clean(info.build, 60)}, for ${stateDir}`;
}

/** A line for each of its devices. */
export function deviceLines({ info }: Pick<ReachedHost, 'info'>): string[] {
  return info.devices.map((device) => `  device ${clean(device.id, 60)}  ${deviceWords(device)}`);
}

function deviceWords({ state, holder }: HostDevice): string {
  if (state === 'free') return 'free';
  const who = holder === undefined ? 'somebody' : clean(holder, 160);
  return state === 'leased' ? `in use by ${who}` : `in use by ${who}, who is no program of Adit`;
}
