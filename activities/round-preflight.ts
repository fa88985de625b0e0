import { z } from 'zod';
import { StepError } from '../core/error.js';
import { defineStep, type StepContext } from './step-type.js';

/** Signatures are valid for about 300 s (protocol 1.7); a run of days needs the rest for drift. */
const CLOCK_LIMIT_MS = 60_000;

export const roundPreflight = defineStep({
  name: 'round.preflight',
  summary: 'Checks, before hours of work, all that could only fail after them.',
  input: z.object({}),
  output: z.object({
    hotkey: z.string().describe('SS58 address that will sign.'),
    coordinator: z.string().describe('Base URL of the coordinator.'),
    recipient: z.string().describe('SS58 address that rewards must be paid to.'),
    newest_epoch: z
      .string()
      .optional()
      .describe('Newest reward epoch of the Pool before the round; absent when there is none.'),
    checks: z.array(z.string()).describe('What was checked, for people.'),
  }),
  defaults: {
    timeout: '15m',
    heartbeat: '20s',
    retry: { attempts: 5, first: '2s', factor: 2, most: '1m' },
  },
  errors: [
    'SETTING_MISSING',
    'SETTING_INVALID',
    'NETWORK_MISMATCH',
    'HOTKEY_MISSING',
    'HOTKEY_ENCRYPTED',
    'HOTKEY_PASSWORD_WRONG',
    'HOTKEY_UNUSABLE',
    'CLOCK_SKEWED',
    'DISK_LOW',
    'PROGRAM_UNUSABLE',
    'ARTIFACT_HOST_UNAVAILABLE',
    'ARTIFACT_UNSUITABLE',
    'POOL_UNAVAILABLE',
    'POOL_REPLY_INVALID',
    'COORDINATOR_UNAVAILABLE',
    'COORDINATOR_REPLY_INVALID',
    'COORDINATOR_REPLY_TOO_LARGE',
    'COORDINATOR_REDIRECTED',
    'COORDINATOR_RATE_LIMITED',
  ],
  example: `
- id: ready
  uses: round.preflight
`,
  run: async (_input, context) => {
    const { wallet, coordinator, artifactHost, git, pool, settings } = context.adapters;
    const recipient = checkSettings(context);
    const hotkey = await wallet.address();
    if (context.call.network.hotkey !== '' && hotkey !== context.call.network.hotkey) {
      throw mismatch(`the hotkey ${context.call.network.hotkey}`, hotkey);
    }
    const gitVersion = await git.version(context.signal);
    const freeBytes = await checkDisk(context);
    const clock = await checkClock(context);
    context.progress({ checking: 'the publish target' });
    await artifactHost.checkWritable(context.signal);
    const newestEpoch = await pool.newestEpoch(context.signal);
    return {
      hotkey,
      coordinator: coordinator.baseUrl(),
      recipient,
      ...(newestEpoch === null ? {} : { newest_epoch: newestEpoch }),
      checks: [
        `hotkey ${hotkey} opens and is the one that the run was started with`,
        `coordinator ${coordinator.baseUrl()} answers; ${clock}`,
        `Pool ${settings.poolUrl ?? ''} answers; its newest epoch is ${newestEpoch ?? 'none'}`,
        `recipient ${recipient} is pinned`,
        `publish target ${settings.publishUrl ?? ''} takes and serves a file`,
        `git ${gitVersion}`,
        `${Math.floor(freeBytes / 1024 / 1024)} MiB of disk are free`,
      ],
    };
  },
});

/** The recipient; what can be told from the settings alone comes first, all of it at once. */
function checkSettings({ adapters, call }: StepContext): string {
  const { coordinator, settings, wallet } = adapters;
  const missing = [
    ...(settings.poolUrl === null ? ['ADIT_POOL_URL'] : []),
    ...(settings.recipient === null ? ['ADIT_RECIPIENT'] : []),
    ...(settings.publishUrl === null ? ['ADIT_PUBLISH_URL'] : []),
  ];
  if (settings.recipient === null || missing.length > 0) {
    throw new StepError('SETTING_MISSING', `The worker has no ${missing.join(', ')}.`, {
      hint: 'Set it in the environment of the worker, or in adit.config.yaml.',
    });
  }
  if (!wallet.isAddress(settings.recipient)) {
    throw new StepError(
      'SETTING_INVALID',
      `The recipient "${settings.recipient}" is not an SS58 address of network prefix 42.`,
      { hint: 'Set ADIT_RECIPIENT to the coldkey address that rewards must be paid to.' },
    );
  }
  const ours = coordinator.baseUrl();
  if (call.network.coordinator !== '' && ours !== call.network.coordinator) {
    throw mismatch(`the coordinator ${call.network.coordinator}`, ours);
  }
  return settings.recipient;
}

function mismatch(meant: string, ours: string): StepError {
  return new StepError(
    'NETWORK_MISMATCH',
    `The run was started for ${meant}; this worker has ${ours}.`,
    {
      hint: 'Give worker and command the same settings, then start the run again.',
    },
  );
}

async function checkDisk({ adapters }: StepContext): Promise<number> {
  const { machine, settings } = adapters;
  const freeBytes = await machine.freeBytes(settings.stateDir);
  if (freeBytes >= settings.minFreeBytes) return freeBytes;
  throw new StepError(
    'DISK_LOW',
    `${settings.stateDir} has ${freeBytes} bytes free; at least ${settings.minFreeBytes} are wanted.`,
    { hint: 'Make room, set ADIT_STATE_DIR to another disk, or lower ADIT_MIN_FREE_BYTES.' },
  );
}

async function checkClock({ adapters, signal }: StepContext): Promise<string> {
  const { clockOffsetMs } = await adapters.coordinator.reach(signal);
  if (clockOffsetMs === null) return 'it tells no time to compare our clock with';
  const seconds = Math.round(Math.abs(clockOffsetMs) / 1_000);
  if (Math.abs(clockOffsetMs) <= CLOCK_LIMIT_MS)
    return `our clock is within ${seconds + 1} s of its`;
  throw new StepError(
    'CLOCK_SKEWED',
    `Our clock is ${seconds} s ${clockOffsetMs > 0 ? 'behind' : 'ahead of'} the coordinator's; at most ${CLOCK_LIMIT_MS / 1_000} s are allowed.`,
    { hint: 'Set this machine’s clock (NTP): a signature is valid for about 300 s.' },
  );
}
