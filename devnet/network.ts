/** Starts and stops all of a devnet: coordinator, Pool, artifact host, git server, validator. */
import { copyFile, chmod, mkdir } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { once } from 'node:events';
import type { Server } from 'node:http';
import path from 'node:path';
import { cryptoWaitReady } from '@polkadot/util-crypto';
import type { FastifyInstance } from 'fastify';
import { createArtifactHost, emptyArtifacts } from './artifacts/artifact-host.js';
import { ensureCertificate } from './artifacts/certificate.js';
import { publicKeyOf } from './auth/signature.js';
import { createCoordinator } from './coordinator/coordinator.js';
import { earnedRewards } from './coordinator/rewards.js';
import { createSettingsStore } from './coordinator/settings.js';
import { createCoordinatorState, forgetEverything } from './coordinator/state.js';
import { createGitServer } from './git/git-server.js';
import { ensureTaskRepository } from './git/task-repository.js';
import {
  DevnetError,
  ensureSecret,
  lockHome,
  packageRoot,
  removeRunning,
  writeRunning,
} from './home.js';
import { ensureHotkey, makeAddress } from './hotkeys.js';
import { createEpochs } from './pool/epochs.js';
import { createPool } from './pool/pool.js';
import { createPublisher } from './pool/publisher.js';
import { REPOSITORY_NAME, seedTasks } from './seeded-tasks.js';
import { createRequestCounters } from './service/counters.js';
import { createFaultPlan } from './service/faults.js';
import { openJournal } from './service/journal.js';
import { createClock } from './state/clock.js';
import { openDatabase, type DevnetDatabase } from './state/database.js';
import { createValidatorProcess, type ValidatorProcess } from './validator-process.js';

const HOST = '127.0.0.1';

export interface DevnetOptions {
  /** Absolute. */
  readonly home: string;
  /** The coordinator's port; 0: the one of the last start if it is free, otherwise any. */
  readonly port: number;
  readonly withValidator: boolean;
  /** Seconds between two looks of the validator for work; null: its own default. */
  readonly validatorIntervalSeconds: number | null;
  /** Further hotkeys that may take validator jobs. */
  readonly allowValidators: readonly string[];
  /** null: as it was. */
  readonly claimLifetimeSeconds: number | null;
  /** Where the miner's rewards go; null: as it was, at first a generated address. */
  readonly recipient: string | null;
  /** Largest artifact that the host takes. */
  readonly mostArtifactBytes: number;
  /** Gets a line for every request and every fault, as it happens; null: nobody wants it. */
  readonly journalFile: string | null;
  /** Things a person should know while it runs. */
  readonly report: (line: string) => void;
}

/** The ready line. */
export interface DevnetAddresses {
  readonly coordinator: string;
  /** The root; claims lie under `/claims`. */
  readonly pool: string;
  readonly artifacts: string;
  readonly repository: string;
  readonly tasks: readonly string[];
  readonly adminToken: string;
  /** Paths of hotkey files. */
  readonly hotkeys: { readonly miner: string; readonly validator: string };
  /** Address that the miner's rewards are published for. */
  readonly recipient: string;
  readonly publishTokenFile: string;
  readonly artifactsCaFile: string;
  readonly validatorPid: number | null;
}

export interface Devnet {
  readonly addresses: DevnetAddresses;
  close(): Promise<void>;
}

/** Throws DevnetError: DEVNET_HOME_BUSY, DEVNET_PORT_IN_USE, DEVNET_ADDRESS_INVALID, DEVNET_NOT_BUILT. */
export async function startDevnet(options: DevnetOptions): Promise<Devnet> {
  assertAddresses([
    ...options.allowValidators,
    ...(options.recipient === null ? [] : [options.recipient]),
  ]);
  const closers: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    for (const closeOne of closers.splice(0).toReversed()) await closeOne();
  };
  try {
    return { addresses: await startParts(options, closers), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function startParts(
  options: DevnetOptions,
  closers: (() => Promise<void> | void)[],
): Promise<DevnetAddresses> {
  const { home, report } = options;
  await cryptoWaitReady();
  const lock = await lockHome(home);
  closers.push(() => lock.release());
  const database = openDatabase(home);
  closers.push(() => database.close());
  const inHome = (name: string): string => path.join(home, name);

  const files = {
    miner: inHome('hotkeys/miner'),
    validator: inHome('hotkeys/validator'),
    publishToken: inHome('publish-token'),
    privateManifest: inHome('private.json'),
  };
  const minerAddress = await ensureHotkey(files.miner);
  const validatorAddress = await ensureHotkey(files.validator);
  const adminToken = await ensureSecret(inHome('admin-token'));
  const publishToken = await ensureSecret(files.publishToken);
  const certificate = await ensureCertificate(home);
  const sources = path.join(packageRoot(), 'devnet', 'repositories');
  await copyFile(path.join(sources, 'private.json'), files.privateManifest);
  await chmod(files.privateManifest, 0o600);
  await ensureTaskRepository(
    path.join(sources, REPOSITORY_NAME),
    path.join(inHome('git'), `${REPOSITORY_NAME}.git`),
  );

  const clock = createClock(database);
  const settings = createSettingsStore(database);
  settings.change({
    validatorHotkeys: [
      ...new Set([
        ...settings.read().validatorHotkeys,
        validatorAddress,
        ...options.allowValidators,
      ]),
    ],
    ...(options.claimLifetimeSeconds === null
      ? {}
      : { claimLifetimeSeconds: options.claimLifetimeSeconds }),
  });
  const journal = openJournal(options.journalFile);
  closers.push(() => journal.close());
  const faults = createFaultPlan((line) => journal.write(line));
  const counters = createRequestCounters();
  const state = createCoordinatorState({
    database,
    clock,
    settings,
    onAccepted: () => publisher.wake(),
  });
  const epochs = createEpochs({
    database,
    clock,
    rewards: () => earnedRewards(state),
    settings: () => settings.read(),
  });
  const publisher = createPublisher(
    epochs,
    () => settings.read().publishDelaySeconds,
    (epoch) => report(`the Pool published epoch ${epoch}`),
  );
  closers.push(() => publisher.close());
  const recipient = options.recipient ?? epochs.recipientOf(minerAddress) ?? makeAddress();
  epochs.setRecipient(minerAddress, recipient);

  const git = createGitServer(inHome('git'));
  const gitUrl = await listen(database, 'git', 0, (port) => listenWithHttp(git, port));
  closers.push(() => closeHttp(git));
  const repository = `${gitUrl}/${REPOSITORY_NAME}.git`;
  const artifactHost = await createArtifactHost({
    folder: inHome('artifacts'),
    certificate,
    token: publishToken,
    mostBytes: options.mostArtifactBytes,
    faults,
    counters,
  });
  closers.push(() => artifactHost.close());
  const artifacts = await listen(database, 'artifacts', 0, (port) =>
    listenWithFastify(artifactHost, port),
  );
  const pool = createPool({ epochs, faults, counters });
  closers.push(() => pool.close());
  const poolUrl = await listen(database, 'pool', 0, (port) => listenWithFastify(pool, port));

  const tasks = seedTasks(state, { repository, privateManifest: files.privateManifest });
  let coordinatorUrl = '';
  let validator: ValidatorProcess | null = null;
  const coordinator = createCoordinator({
    state,
    adminToken,
    baseUrl: () => coordinatorUrl,
    faults,
    counters,
    controls: {
      publishEpoch: () => epochs.publish(),
      validator: () => validator?.status() ?? { running: false, pid: null },
      stopValidator: async () => validator?.stop(),
      startValidator: () => validator?.start(),
      beginAnew: async () => {
        forgetEverything(state);
        await emptyArtifacts(inHome('artifacts'));
      },
    },
  });
  closers.push(() => coordinator.close());
  coordinatorUrl = await listen(database, 'coordinator', options.port, (port) =>
    listenWithFastify(coordinator, port),
  );
  // Something may have been accepted just before the last end.
  publisher.wake();

  if (options.withValidator) {
    validator = await startValidator({
      options,
      coordinatorUrl,
      hotkey: files.validator,
      ca: certificate.certFile,
    });
    const running = validator;
    closers.push(() => running.stop());
  }
  const addresses: DevnetAddresses = {
    coordinator: coordinatorUrl,
    pool: poolUrl,
    artifacts,
    repository,
    tasks,
    adminToken,
    hotkeys: { miner: files.miner, validator: files.validator },
    recipient,
    publishTokenFile: files.publishToken,
    artifactsCaFile: certificate.certFile,
    validatorPid: validator?.status().pid ?? null,
  };
  await writeRunning(home, { ...addresses, pid: process.pid });
  closers.push(() => removeRunning(home));
  return addresses;
}

async function startValidator(parts: {
  options: DevnetOptions;
  coordinatorUrl: string;
  hotkey: string;
  ca: string;
}): Promise<ValidatorProcess> {
  const { options } = parts;
  // From the sources (tests), too, it is the compiled one.
  const entry = path.join(packageRoot(), 'dist', 'devnet', 'validator', 'main.js');
  if (!existsSync(entry)) {
    throw new DevnetError(
      'DEVNET_NOT_BUILT',
      `The validator is not compiled: ${entry} is missing.`,
      'Run `npm run build`, or start with --no-validator.',
    );
  }
  const folder = path.join(options.home, 'validator');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const interval = options.validatorIntervalSeconds;
  const validator = createValidatorProcess({
    entry,
    folder,
    report: options.report,
    args: [
      '--coordinator',
      parts.coordinatorUrl,
      '--hotkey',
      parts.hotkey,
      '--home',
      folder,
      '--ca',
      parts.ca,
      ...(interval === null ? [] : ['--interval', String(interval)]),
    ],
  });
  validator.start();
  return validator;
}

/** Listens on the port asked for; without one on that of the last start, so that clients find it again. */
async function listen(
  database: DevnetDatabase,
  service: string,
  wanted: number,
  start: (port: number) => Promise<string>,
): Promise<string> {
  const key = `port_${service}`;
  const remembered = database.readValue(key);
  const candidates =
    wanted !== 0 ? [wanted] : [...(typeof remembered === 'number' ? [remembered] : []), 0];
  for (const port of candidates) {
    try {
      const url = await start(port);
      database.writeValue(key, Number(new URL(url).port));
      return url;
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : null;
      if (code !== 'EADDRINUSE' && code !== 'EACCES') throw error;
      if (wanted === 0) continue;
      throw new DevnetError(
        'DEVNET_PORT_IN_USE',
        `Port ${wanted} of ${HOST} ${code === 'EACCES' ? 'is not ours to use' : 'is in use'}.`,
        'Choose another with --port, or leave it out.',
        { cause: error },
      );
    }
  }
  throw new Error(`no port for ${service}`);
}

async function listenWithFastify(app: FastifyInstance, port: number): Promise<string> {
  return app.listen({ host: HOST, port });
}

async function listenWithHttp(server: Server, port: number): Promise<string> {
  server.listen(port, HOST);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a server without a port');
  return `http://${HOST}:${address.port}`;
}

async function closeHttp(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

function assertAddresses(addresses: readonly string[]): void {
  for (const address of addresses) {
    if (publicKeyOf(address) !== null) continue;
    throw new DevnetError(
      'DEVNET_ADDRESS_INVALID',
      `${JSON.stringify(address)} is not an SS58 address.`,
      'Addresses here have network prefix 42 and begin with 5.',
    );
  }
}
