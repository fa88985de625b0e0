/** The limit of submissions per UTC day and hotkey, counted from the effects that the state folder has recorded. */
import { StepError } from '../core/error.js';
import { SUBMISSION } from './claim-lookup.js';
import type { StepContext } from './step-type.js';

const DAY_MS = 86_400_000;

/** Counting and recording are one: of two runs at the limit only one may go on. */
let last: Promise<unknown> = Promise.resolve();

/**
 * Runs `begin`, which records the try, when the day's limit allows this effect. An effect that tried before is
 * counted already. Throws SUBMISSION_LIMIT.
 */
export async function withinDailyLimit(
  context: StepContext,
  hotkey: string,
  begin: () => Promise<void>,
): Promise<void> {
  const mine = last.then(async () => {
    await assertBelowLimit(context, hotkey);
    await begin();
  });
  last = mine.catch(() => undefined);
  return mine;
}

async function assertBelowLimit({ adapters, call }: StepContext, hotkey: string): Promise<void> {
  const most = adapters.settings.maxSubmissionsPerDay;
  if (most === null) return;
  const dayMs = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const effects = await adapters.evidence.readEffectsSince(dayMs);
  const counted = effects.filter(
    (record) =>
      record.what === SUBMISSION && record.hotkey === hotkey && wasSentOn(record.tries, dayMs),
  );
  const own = counted.some(
    ({ roundId, stepPath }) => roundId === call.roundId && stepPath === call.path,
  );
  if (own || counted.length < most) return;
  const next = new Date(dayMs + DAY_MS).toISOString();
  throw new StepError(
    'SUBMISSION_LIMIT',
    `${counted.length} submissions of the hotkey were made today (UTC); the setting maxSubmissionsPerDay allows ${most}.`,
    {
      hint: `Nothing was submitted. The next day begins at ${next}; \`adit retry\` then goes on, or raise ADIT_MAX_SUBMISSIONS_PER_DAY.`,
    },
  );
}

/** By the first request that was not refused: what was refused is no submission, and a repeat no second one. */
function wasSentOn(
  tries: readonly { readonly sentAt: string; readonly outcome?: string }[],
  dayMs: number,
): boolean {
  const first = tries.find(({ outcome }) => outcome !== 'refused');
  return first !== undefined && Date.parse(first.sentAt) >= dayMs;
}
