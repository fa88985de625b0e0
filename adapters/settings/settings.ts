/**
 * The settings of one machine: where the network is and as whom we act on it. They belong to the
 * worker (and to the command that starts a run), never to a pipeline.
 *
 * An environment variable wins over `adit.config.yaml`, which wins over the default.
 */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import envPaths from 'env-paths';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { hookSettings } from './hook-settings.js';

const CONFIG_FILE = 'adit.config.yaml';

const optionalText = z.string().trim().min(1).nullable().default(null);

/** Two spellings of one address must be equal: a run records it, and every worker compares it. */
const optionalAddress = optionalText
  .transform((address) =>
    address !== null && URL.canParse(address) ? new URL(address).href.replace(/\/+$/, '') : address,
  )
  // A run records its coordinator, and messages name addresses: a password would be kept with them.
  .refine((address) => address === null || !/^[a-z]+:\/\/[^/]*@/i.test(address), {
    error: 'an address must not hold a user or a password',
  });

const seconds = z.coerce.number().nonnegative().max(86_400);

/** `true` and `false`, in a variable as text. */
const yesOrNo = z.union([
  z.boolean(),
  z.enum(['true', 'false']).transform((text) => text === 'true'),
]);

const settingsSchema = z.strictObject({
  coordinatorUrl: optionalAddress.describe('Base URL of the coordinator.'),
  poolUrl: optionalAddress.describe('Root URL of the Pool; `/claims` is appended.'),
  hotkeyFile: optionalText.describe('Bittensor hotkey file.'),
  hotkeyPasswordFile: optionalText.describe('File that holds the password of an encrypted hotkey.'),
  recipient: optionalText.describe('SS58 address of the coldkey that rewards must be paid to.'),
  publishUrl: optionalAddress.describe(
    'https address under which artifacts are PUT and fetched back.',
  ),
  publishTokenFile: optionalText.describe('File that holds the bearer token for publishing.'),
  publishCaFile: optionalText.describe(
    'PEM file with a further certificate authority to trust for artifacts.',
  ),
  merkleProfile: optionalText.describe(
    'Encoding profile of the Merkle proofs; absent: all known ones are tried.',
  ),
  claimContract: optionalText.describe(
    'SS58 address of the claim contract; only needed where Merkle leaves hold it.',
  ),
  poolRootMember: z
    .string()
    .default('root')
    .describe('Member of `/epoch/{epoch}` that holds the Merkle root; its fields are not public.'),
  stateDir: optionalText.describe('Folder for runs, workspaces, the store and evidence.'),
  cacheDir: optionalText.describe(
    'Folder for what can be made again, such as the Temporal server.',
  ),
  taskQueue: z.string().trim().min(1).default('adit').describe('Shared Temporal task queue.'),
  minFreeBytes: z.coerce
    .number()
    .int()
    .nonnegative()
    .default(1024 * 1024 * 1024)
    .describe('Least free disk space for a step that writes much.'),
  maxOutputBytes: z.coerce
    .number()
    .int()
    .min(64 * 1024)
    .default(256 * 1024 * 1024)
    .describe('Of more output than this of one program only head and tail are kept.'),
  gpus: z
    .preprocess(
      (value) =>
        Array.isArray(value) ? value.join(',') : typeof value === 'number' ? String(value) : value,
      optionalText,
    )
    .transform((text, problems) => {
      if (text === null) return null;
      const ids = text === 'none' ? [] : text.split(',').map((id) => id.trim());
      // What CUDA_VISIBLE_DEVICES takes: an index, or the name of a device or a part of one.
      const wrong = ids.find((id) => !/^[A-Za-z0-9][A-Za-z0-9/._-]{0,127}$/.test(id));
      const message =
        wrong !== undefined
          ? `${JSON.stringify(wrong)} is no id of a device`
          : new Set(ids).size < ids.length
            ? 'a device is named twice'
            : null;
      if (message !== null) problems.addIssue({ code: 'custom', message });
      return ids;
    })
    .describe(
      'Devices of this machine, as CUDA_VISIBLE_DEVICES names them; absent: ask nvidia-smi.',
    ),
  claimMarginSeconds: z.coerce
    .number()
    .nonnegative()
    .default(10)
    .describe('A claim that ends within this many seconds is not submitted on.'),
  signatureWindowSeconds: seconds
    .default(300)
    .describe('For how long after its signature the coordinator takes a request.'),
  coordinatorLagSeconds: seconds
    .default(30)
    .describe('How late a list of the coordinator may show what it has stored.'),
  maxSubmissionsPerDay: z.coerce
    .number()
    .int()
    .positive()
    .nullable()
    .default(null)
    .describe(
      'Most submissions of the hotkey in one UTC day from this state folder; null: no limit.',
    ),
  allowParallelRounds: yesOrNo
    .default(false)
    .describe('Whether two runs may work on the same task with the same hotkey at one time.'),
  ...hookSettings,
});

type SettingsInput = z.output<typeof settingsSchema>;

export interface Settings extends Omit<SettingsInput, 'stateDir' | 'cacheDir'> {
  readonly stateDir: string;
  readonly cacheDir: string;
  /** The file that was read, or null. */
  readonly configFile: string | null;
}

/** Environment variable of each setting. */
export const SETTING_VARIABLES: { readonly [K in keyof SettingsInput]: string } = {
  coordinatorUrl: 'ADIT_COORDINATOR_URL',
  poolUrl: 'ADIT_POOL_URL',
  hotkeyFile: 'ADIT_HOTKEY_FILE',
  hotkeyPasswordFile: 'ADIT_HOTKEY_PASSWORD_FILE',
  recipient: 'ADIT_RECIPIENT',
  publishUrl: 'ADIT_PUBLISH_URL',
  publishTokenFile: 'ADIT_PUBLISH_TOKEN_FILE',
  publishCaFile: 'ADIT_PUBLISH_CA_FILE',
  merkleProfile: 'ADIT_MERKLE_PROFILE',
  claimContract: 'ADIT_CLAIM_CONTRACT',
  poolRootMember: 'ADIT_POOL_ROOT_MEMBER',
  stateDir: 'ADIT_STATE_DIR',
  cacheDir: 'ADIT_CACHE_DIR',
  taskQueue: 'ADIT_TASK_QUEUE',
  minFreeBytes: 'ADIT_MIN_FREE_BYTES',
  maxOutputBytes: 'ADIT_MAX_OUTPUT_BYTES',
  gpus: 'ADIT_GPUS',
  claimMarginSeconds: 'ADIT_CLAIM_MARGIN_SECONDS',
  signatureWindowSeconds: 'ADIT_SIGNATURE_WINDOW_SECONDS',
  coordinatorLagSeconds: 'ADIT_COORDINATOR_LAG_SECONDS',
  maxSubmissionsPerDay: 'ADIT_MAX_SUBMISSIONS_PER_DAY',
  allowParallelRounds: 'ADIT_ALLOW_PARALLEL_ROUNDS',
  notifyUrl: 'ADIT_NOTIFY_URL',
  notifySecretFile: 'ADIT_NOTIFY_SECRET_FILE',
  notifyCommand: 'ADIT_NOTIFY_COMMAND',
  notifyEvents: 'ADIT_NOTIFY_EVENTS',
};

/** A setting cannot be used; the message names the place, the reason and the way out. */
export class SettingsError extends Error {
  readonly hint: string;
  constructor(message: string, hint: string) {
    super(message);
    this.name = 'SettingsError';
    this.hint = hint;
  }
}

/**
 * Reads the settings from `env` and from `adit.config.yaml` in `cwd` (or the file that `ADIT_CONFIG`
 * names). Paths in the file are relative to the file; paths in variables to `cwd`. Throws SettingsError.
 */
export function loadSettings(env: NodeJS.ProcessEnv, cwd: string): Settings {
  const configFile = path.resolve(cwd, env['ADIT_CONFIG'] ?? CONFIG_FILE);
  const fromFile = readConfigFile(configFile, env['ADIT_CONFIG'] !== undefined);
  const merged: Record<string, unknown> = { ...fromFile };
  for (const [name, variable] of Object.entries(SETTING_VARIABLES)) {
    const value = env[variable];
    if (value === undefined || value === '') continue;
    merged[name] = PATH_SETTINGS.has(name) ? resolvePath(cwd, value) : value;
  }
  const parsed = settingsSchema.safeParse(merged);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const name = issue?.path.join('.') ?? '';
    const place = issue?.code === 'unrecognized_keys' ? configFile : `setting ${name}`;
    throw new SettingsError(
      `${place}: ${issue?.message ?? 'cannot be read'}`,
      'docs/operating.md lists the settings and their variables.',
    );
  }
  const paths = envPaths('adit', { suffix: '' });
  const home = env['HOME'] ?? homedir();
  return {
    ...parsed.data,
    stateDir:
      parsed.data.stateDir ?? defaultDir(env['XDG_STATE_HOME'], home, '.local/state', paths.log),
    cacheDir:
      parsed.data.cacheDir ?? defaultDir(env['XDG_CACHE_HOME'], home, '.cache', paths.cache),
    configFile: fromFile === null ? null : configFile,
  };
}

const PATH_SETTINGS = new Set([
  'hotkeyFile',
  'hotkeyPasswordFile',
  'publishTokenFile',
  'publishCaFile',
  'notifySecretFile',
  'stateDir',
  'cacheDir',
]);

function readConfigFile(file: string, required: boolean): Record<string, unknown> | null {
  if (!existsSync(file)) {
    if (required)
      throw new SettingsError(
        `${file} does not exist.`,
        'ADIT_CONFIG names it; correct or unset it.',
      );
    return null;
  }
  let content: unknown;
  try {
    content = parseYaml(readFileSync(file, 'utf8')) ?? {};
  } catch (error) {
    throw new SettingsError(`${file}: ${(error as Error).message}`, 'Correct the YAML.');
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new SettingsError(
      `${file} must hold a map of settings.`,
      'For example: coordinatorUrl: https://…',
    );
  }
  return Object.fromEntries(
    Object.entries(content).map(([name, value]) => [
      name,
      PATH_SETTINGS.has(name) && typeof value === 'string'
        ? resolvePath(path.dirname(file), value)
        : value,
    ]),
  );
}

function resolvePath(base: string, value: string): string {
  return value.startsWith('~/') ? path.join(homedir(), value.slice(2)) : path.resolve(base, value);
}

function defaultDir(xdg: string | undefined, home: string, dot: string, native: string): string {
  if (process.platform === 'linux') return path.join(xdg ?? path.join(home, dot), 'adit');
  return native;
}
