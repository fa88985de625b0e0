/** A command's connection to the Temporal server, and the settings that go with it. */
import type { Client, Connection } from '@temporalio/client';
import type { Command } from 'commander';
import type { Settings } from '../adapters/settings/settings.js';
import type { ServerChoice, ServerFlags } from '../adapters/temporal-server/choose-server.js';
import type { Services } from '../adapters/temporal-server/services-file.js';

export interface Session {
  readonly client: Client;
  readonly connection: Connection;
  readonly server: ServerChoice;
  readonly settings: Settings;
  close(): Promise<void>;
}

/** The settings that hold for runs on a server, and that server; null without one. */
export interface Served {
  readonly settings: Settings;
  readonly server: ServerChoice | null;
}

/** Adds the options by which a server is named. */
export function addServerOptions(command: Command): Command {
  return command
    .option(
      '--address <host:port>',
      'Temporal server (else TEMPORAL_ADDRESS, the Temporal profile, a running `adit dev`)',
    )
    .option('--namespace <name>', 'Temporal namespace')
    .option('--profile <name>', 'profile of temporal.toml');
}

/** The settings of this command, without a server. */
export async function readSettings(
  env: NodeJS.ProcessEnv = process.env,
  cwd = process.cwd(),
): Promise<Settings> {
  const { loadSettings } = await import('../adapters/settings/settings.js');
  return loadSettings(env, cwd);
}

/** The settings of a local network that is running: nothing of the user's own network is in them. */
export async function settingsOfServices({ variables }: Services): Promise<Settings> {
  const env = Object.entries(process.env).filter(([name]) => !name.startsWith('ADIT_'));
  return readSettings({ ...Object.fromEntries(env), ...variables }, variables['ADIT_STATE_DIR']);
}

/** The server that a command would choose, and its settings; without one the command's own. Connects to nothing. */
export async function readServed(flags: ServerFlags): Promise<Served> {
  const { chooseServer } = await import('../adapters/temporal-server/choose-server.js');
  const own = await readSettings();
  try {
    const server = chooseServer({ flags, env: process.env, stateDir: own.stateDir });
    const { services } = server;
    return { settings: services === undefined ? own : await settingsOfServices(services), server };
  } catch (error) {
    if ((error as { code?: unknown }).code === 'SERVER_NONE')
      return { settings: own, server: null };
    throw error;
  }
}

/** The settings that hold for runs on the server which a command would choose; without a server the command's own. */
export async function readServedSettings(flags: ServerFlags): Promise<Settings> {
  return (await readServed(flags)).settings;
}

/**
 * Connects. Runs on the server of `adit dev` belong to its local network, so its settings go before the
 * user's own there. Throws TemporalServerError (exit code 5), SettingsError.
 */
export async function openSession(flags: ServerFlags): Promise<Session> {
  const { chooseServer } = await import('../adapters/temporal-server/choose-server.js');
  const own = await readSettings();
  const server = chooseServer({ flags, env: process.env, stateDir: own.stateDir });
  const settings = server.services === undefined ? own : await settingsOfServices(server.services);
  const { connectTo } = await import('../adapters/temporal-server/connect.js');
  const connection = await connectTo(server);
  return { ...(await createSession(connection, server)), settings };
}

/** The client over a connection that is there already. */
export async function createSession(
  connection: Connection,
  server: ServerChoice,
): Promise<Pick<Session, 'client' | 'connection' | 'server' | 'close'>> {
  const { Client } = await import('@temporalio/client');
  return {
    client: new Client({ connection, namespace: server.namespace }),
    connection,
    server,
    close: () => connection.close(),
  };
}
