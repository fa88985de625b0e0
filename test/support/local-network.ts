/** The built programs as processes: local network and workers, for tests that kill them. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { STEP_TYPES } from '../../activities/registry.js';
import { createWallet } from '../../adapters/wallet/wallet.js';
import { demoInputs } from '../../cli/demo-inputs.js';
import { bindPipeline } from '../../compiler/bind.js';
import { compilePipeline } from '../../compiler/compile.js';
import type { JsonObject } from '../../core/json.js';
import type { Plan } from '../../core/plan.js';

export const PACKAGE_ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The public development account `//Bob`: nothing of value may ever be paid to it. */
export const RECIPIENT = '5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty';

export interface Program {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Its ready line. */
  readonly ready: JsonObject;
  readonly stderr: () => string;
  /** Sends a signal and waits for the end. */
  end(signal: NodeJS.Signals): Promise<void>;
}

/**
 * Starts a built program and waits for its first line, which is JSON. `dist` is another build's folder, `group`
 * gives it a process group of its own, `within` is a command line that runs it.
 */
export async function startProgram(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  options: {
    readonly dist?: string;
    readonly group?: boolean;
    readonly within?: readonly string[];
  } = {},
): Promise<Program> {
  const script = path.join(options.dist ?? path.join(PACKAGE_ROOT, 'dist'), file);
  if (!existsSync(script)) throw new Error(`${script} is not built: run \`npm run build\` first.`);
  const [program, ...rest] = [...(options.within ?? []), process.execPath, script, ...args];
  const child = spawn(program ?? '', rest, {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: options.group === true,
  });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve);
    child.once('exit', (code) => reject(new Error(`${file} ended with ${code}: ${stderr}`)));
  });
  return {
    child,
    pid: child.pid ?? 0,
    ready: JSON.parse(line) as JsonObject,
    stderr: () => stderr,
    async end(signal) {
      child.kill(signal);
      await ended;
    },
  };
}

export interface LocalNetwork {
  readonly devnet: Program;
  /** The environment of a worker for this network. */
  readonly env: NodeJS.ProcessEnv;
  readonly coordinator: string;
  readonly validatorPid: number;
  /** A route of the devnet's own, with the admin token. */
  admin(method: 'GET' | 'POST' | 'PUT', route: string, body?: JsonObject): Promise<JsonObject>;
  /** A public list of the coordinator. */
  list(route: string): Promise<JsonObject[]>;
  startWorker(): Promise<Program>;
  stop(): Promise<void>;
}

export async function startLocalNetwork(options: {
  readonly folder: string;
  readonly temporal: { readonly address: string; readonly namespace: string };
  readonly taskQueue: string;
}): Promise<LocalNetwork> {
  const { PATH, HOME } = process.env;
  const base = { PATH, HOME };
  const devnet = await startProgram(
    'devnet/main.js',
    [
      '--port',
      '0',
      '--home',
      path.join(options.folder, 'devnet'),
      '--recipient',
      RECIPIENT,
      '--json',
    ],
    base,
  );
  const {
    coordinator,
    pool,
    artifacts,
    hotkeys,
    publishTokenFile,
    artifactsCaFile,
    adminToken,
    validatorPid,
  } = devnet.ready as Record<string, string> & { hotkeys: { miner: string } };
  const env: NodeJS.ProcessEnv = {
    ...base,
    ADIT_COORDINATOR_URL: coordinator,
    ADIT_POOL_URL: pool,
    ADIT_HOTKEY_FILE: hotkeys.miner,
    ADIT_RECIPIENT: RECIPIENT,
    ADIT_PUBLISH_URL: artifacts,
    ADIT_PUBLISH_TOKEN_FILE: publishTokenFile,
    ADIT_PUBLISH_CA_FILE: artifactsCaFile,
    ADIT_STATE_DIR: path.join(options.folder, 'state'),
    ADIT_TASK_QUEUE: options.taskQueue,
    // A worker may be killed with a request under way: what follows must not wait for minutes.
    ADIT_SIGNATURE_WINDOW_SECONDS: '10',
    ADIT_COORDINATOR_LAG_SECONDS: '2',
    // Nor for the worker that is gone.
    ADIT_STICKY_SECONDS: '2',
    TEMPORAL_ADDRESS: options.temporal.address,
    TEMPORAL_NAMESPACE: options.temporal.namespace,
  };
  await fetch(`${coordinator}/devnet/settings`, {
    method: 'PUT',
    headers: { 'X-Admin-Token': adminToken ?? '', 'Content-Type': 'application/json' },
    body: JSON.stringify({ timestampWindowSeconds: Number(env['ADIT_SIGNATURE_WINDOW_SECONDS']) }),
  });
  const workers = new Set<Program>();
  return {
    devnet,
    env,
    coordinator: coordinator ?? '',
    validatorPid: Number(validatorPid),
    async admin(method, route, body) {
      const response = await fetch(`${coordinator}/devnet/${route}`, {
        method,
        headers: { 'X-Admin-Token': adminToken ?? '', 'Content-Type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      if (!response.ok) throw new Error(`${route}: ${response.status} ${await response.text()}`);
      return (await response.json()) as JsonObject;
    },
    async list(route) {
      const response = await fetch(`${coordinator}${route}`);
      return (await response.json()) as JsonObject[];
    },
    async startWorker() {
      const worker = await startProgram('worker/main.js', [], env);
      workers.add(worker);
      worker.child.once('exit', () => workers.delete(worker));
      return worker;
    },
    async stop() {
      for (const worker of workers) await worker.end('SIGKILL');
      await devnet.end('SIGTERM');
    },
  };
}

/** The shipped round with the demo's inputs, for a network. */
export async function demoPlan(
  network: LocalNetwork,
  task = 'tiny-ternary-frontier',
): Promise<Plan> {
  const file = path.join(PACKAGE_ROOT, 'pipelines', 'frontier-round.yaml');
  const content = readFileSync(file);
  const { pipeline, diagnostics, source } = compilePipeline(content, file, STEP_TYPES);
  if (pipeline === null) throw new Error(JSON.stringify(diagnostics));
  const inputs = Object.entries(demoInputs(task)).map(
    ([name, value]) =>
      [
        name,
        // What is tested is the round, not the model: the quicker profile does.
        { value: name === 'train' ? String(value).replace('default', 'fast') : value },
      ] as const,
  );
  const hotkey = await createWallet({
    hotkeyFile: network.env['ADIT_HOTKEY_FILE'] ?? null,
    hotkeyPasswordFile: null,
  }).address();
  const { plan, diagnostics: problems } = bindPipeline(pipeline, {
    inputs: new Map(inputs),
    network: { coordinator: network.coordinator, hotkey },
    sourceSha256: createHash('sha256').update(content).digest('hex'),
    source,
  });
  if (plan === null) throw new Error(JSON.stringify(problems));
  return plan;
}
