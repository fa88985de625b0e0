import type { ConnectionOptions } from '@temporalio/client';
import { loadClientConfigProfile, toClientOptions } from '@temporalio/envconfig';
import { TemporalServerError } from './server-error.js';
import { readRunningServices, type Services } from './services-file.js';

export interface ServerFlags {
  readonly address?: string;
  readonly namespace?: string;
  readonly profile?: string;
}

export interface ServerChoice {
  readonly address: string;
  readonly namespace: string;
  readonly source: 'flag' | 'environment' | 'profile' | 'dev' | 'demo';
  /** Where the address came from, for people. */
  readonly origin: string;
  readonly connectionOptions: ConnectionOptions;
  /** The running services, when the server is that of `adit dev` or `adit demo --keep`. */
  readonly services?: Services;
}

/**
 * The server that a client command talks to: an address from the flag, the environment or the Temporal
 * profile; else that of a running `adit dev` (or of a kept demo). Says nothing about whether it answers.
 * Throws TemporalServerError SERVER_NONE when neither is there: client commands never start a server.
 */
export function chooseServer(options: {
  readonly flags: ServerFlags;
  readonly env: NodeJS.ProcessEnv;
  readonly stateDir: string;
}): ServerChoice {
  const named = namedServer(options.flags, options.env);
  if (named !== null) return named;
  for (const kind of ['dev', 'demo'] as const) {
    const services = readRunningServices(options.stateDir, kind);
    if (services === null) continue;
    return {
      address: services.temporal.address,
      namespace: options.flags.namespace ?? services.temporal.namespace,
      source: kind,
      origin: kind === 'dev' ? 'of the running `adit dev`' : 'of `adit demo --keep`',
      connectionOptions: { address: services.temporal.address, tls: false },
      services,
    };
  }
  throw new TemporalServerError(
    'SERVER_NONE',
    'There is no Temporal server to talk to: no --address, no TEMPORAL_ADDRESS, no address in a Temporal profile, and no `adit dev` is running.',
    'Start one with `adit dev`, or name one by --address or TEMPORAL_ADDRESS.',
  );
}

/** The server that flag, environment or profile names; null when they name none. */
function namedServer(flags: ServerFlags, env: NodeJS.ProcessEnv): ServerChoice | null {
  const variables = Object.fromEntries(
    Object.entries(env).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== '',
    ),
  );
  let profile;
  try {
    profile = loadClientConfigProfile({
      overrideEnvVars: variables,
      ...(flags.profile === undefined ? {} : { profile: flags.profile }),
    });
  } catch (error) {
    throw new TemporalServerError(
      'TEMPORAL_PROFILE_INVALID',
      `The Temporal configuration cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      'Correct temporal.toml, TEMPORAL_PROFILE or the TEMPORAL_* variables.',
    );
  }
  const address = flags.address ?? profile.address;
  if (address === undefined) {
    if (flags.profile === undefined) return null;
    throw new TemporalServerError(
      'TEMPORAL_PROFILE_INVALID',
      `The Temporal profile "${flags.profile}" has no address.`,
      'Add one to temporal.toml, or pass --address.',
    );
  }
  const { connectionOptions } = toClientOptions({ ...profile, address });
  const { tls, apiKey, metadata } = connectionOptions;
  const source =
    flags.address !== undefined
      ? 'flag'
      : variables['TEMPORAL_ADDRESS'] !== undefined
        ? 'environment'
        : 'profile';
  return {
    address,
    namespace: flags.namespace ?? profile.namespace ?? 'default',
    source,
    origin: {
      flag: 'from --address',
      environment: 'from TEMPORAL_ADDRESS',
      profile: 'from the Temporal profile',
    }[source],
    connectionOptions: {
      address,
      ...(tls === undefined || tls === null ? {} : { tls }),
      ...(apiKey === undefined ? {} : { apiKey }),
      ...(metadata === undefined ? {} : { metadata }),
    },
  };
}

/** The variables by which a child process (the worker) reaches the chosen server. */
export function serverVariables(
  choice: ServerChoice,
  env: NodeJS.ProcessEnv,
  profile?: string,
): NodeJS.ProcessEnv {
  if (choice.source !== 'dev' && choice.source !== 'demo') {
    return {
      ...env,
      TEMPORAL_ADDRESS: choice.address,
      TEMPORAL_NAMESPACE: choice.namespace,
      ...(profile === undefined ? {} : { TEMPORAL_PROFILE: profile }),
    };
  }
  return localServerVariables(choice.address, choice.namespace, env);
}

/** The same for a server of our own on this machine: credentials and profiles meant for others stay out. */
export function localServerVariables(
  address: string,
  namespace: string,
  env: NodeJS.ProcessEnv,
): NodeJS.ProcessEnv {
  const rest = Object.fromEntries(
    Object.entries(env).filter(([name]) => !name.startsWith('TEMPORAL_')),
  );
  return {
    ...rest,
    TEMPORAL_ADDRESS: address,
    TEMPORAL_NAMESPACE: namespace,
    TEMPORAL_TLS: 'false',
    // A profile in the user's own file could add TLS or a key.
    TEMPORAL_CONFIG_FILE: '/nonexistent/temporal.toml',
  };
}
