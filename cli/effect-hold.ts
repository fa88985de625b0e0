/** `adit hold` and `adit release`: the switch that holds all effects of the workers of one state folder. */
import { hostname, userInfo } from 'node:os';
import {
  readHold,
  removeHold,
  writeHold,
  type EffectHold,
} from '../adapters/evidence/effect-hold.js';
import type { ServerFlags } from '../adapters/temporal-server/choose-server.js';
import type { Plan } from '../core/plan.js';
import { clean, note, print, printJson } from './output.js';
import { ownName } from './own-name.js';
import { hasEffect } from './round-lock.js';
import { readServedSettings } from './session.js';

/** Holds: from now on nothing is claimed, submitted, cancelled or published. A hold that is there is replaced. */
export async function holdEffects(
  options: ServerFlags & {
    readonly reason?: string;
    readonly by?: string;
    readonly json?: boolean;
  },
): Promise<void> {
  const { stateDir } = await readServedSettings(options);
  const hold: EffectHold = {
    by: options.by ?? `${userInfo().username}@${hostname()}`,
    reason: options.reason ?? '',
    since: new Date().toISOString(),
  };
  await writeHold(stateDir, hold);
  if (options.json === true) printJson({ stateDir, hold });
  else
    print(`Held: ${stateDir}. Everything but effects goes on. Let go with: ${ownName()} release`);
}

/** Lets go; says so when nothing was held. */
export async function releaseEffects(flags: ServerFlags, json: boolean): Promise<void> {
  const { stateDir } = await readServedSettings(flags);
  const released = await removeHold(stateDir);
  if (json) printJson({ stateDir, released });
  else
    print(
      released
        ? `Released: ${stateDir}. Held steps go on by themselves.`
        : `Nothing is held in ${stateDir}.`,
    );
}

/** Says on stderr that a run which is about to start will wait at its first effect. */
export async function noteHold(stateDir: string, plan: Plan): Promise<void> {
  const hold = await readHold(stateDir);
  if (hold !== null && hasEffect(plan)) note(holdWords(hold));
}

/** A hold in one sentence, with the way out. */
export function holdWords({ by, reason, since }: EffectHold): string {
  const when = since === '' ? '' : ` since ${clean(since.slice(0, 19).replace('T', ' '))}`;
  const why = reason === '' ? '' : ` (${clean(reason, 200)})`;
  return `All effects are held by ${clean(by, 100)}${when}${why}; let go with: ${ownName()} release`;
}
