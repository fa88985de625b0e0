/** The part of `adit doctor` that is about the process host, its programs and the switch for effects. */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { execa } from 'execa';
import { readHold } from '../adapters/evidence/effect-hold.js';
import { assertLocalDisk, probeContainment } from '../adapters/processes/host-machine.js';
import { STANDARD_PATH } from '../adapters/processes/processes.js';
import {
  readFirstProcess,
  readHostStanding,
  readStanding,
  redeployWarning,
} from '../adapters/processes/redeploy-warning.js';
import type { Settings } from '../adapters/settings/settings.js';
import { StepError } from '../core/error.js';
import type { HostInfo } from '../core/host-protocol.js';
import { missing, note, ok, type Check } from './checks.js';
import { holdWords } from './effect-hold.js';
import { reachHosts, type ReachedHost } from './hosts.js';
import { ownName } from './own-name.js';
import { evidenceRoots } from './run-record.js';

/** Checks of the settings' state folder, and of its host; where it has none, of the one of `adit dev` or `adit demo`. */
export async function examineHost(settings: Settings): Promise<Check[]> {
  const { stateDir } = settings;
  const reached = await reachHosts(stateDir);
  reached.close();
  const own = reached.hosts.find((candidate) => candidate.stateDir === stateDir);
  const reachedHost = own ?? reached.hosts[0] ?? null;
  const host = reachedHost?.info ?? null;
  const unusable = reached.remarks.find((remark) => remark.includes(stateDir));
  return [
    await examineStateFolder(stateDir),
    unusable === undefined
      ? examineRunning(reachedHost)
      : missing('process host', unusable, 'Programs of steps cannot be started.'),
    await examineContainment(host),
    await examineTools(),
    ...examineDevices(host, settings),
    ...examineRedeploy(host),
    await examineHold(stateDir),
  ];
}

async function examineStateFolder(stateDir: string): Promise<Check> {
  const name = 'state folder';
  await mkdir(stateDir, { recursive: true });
  try {
    await assertLocalDisk(stateDir);
    return ok(name, `${stateDir}, on a local disk`);
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    return missing(name, error.message, error.hint ?? '');
  }
}

function examineRunning(host: ReachedHost | null): Check {
  const name = 'process host';
  if (host !== null) {
    const { pid, build } = host.info;
    return ok(name, `runs for ${host.stateDir} (process ${pid}, build ${build})`);
  }
  return note(
    name,
    'none runs; a worker starts one when it needs it',
    `As a service of its own (\`${ownName()} host\`, docs/operating.md) it outlives every deploy of the worker.`,
  );
}

async function examineContainment(host: HostInfo | null): Promise<Check> {
  const name = 'containment';
  const { level, promise } =
    host === null ? await probeContainment({}) : { level: host.containment, promise: host.promise };
  const found = `${level}: ${promise}`;
  if (level !== 'processGroup') return ok(name, found);
  return note(
    name,
    found,
    'Allow unprivileged user namespaces, or run the host as root or with a cgroup of its own (docs/operating.md).',
  );
}

async function examineTools(): Promise<Check> {
  const name = 'flock, unshare';
  const versions = await Promise.all(
    ['flock', 'unshare'].map((program) =>
      execa(program, ['--version'], {
        env: { PATH: STANDARD_PATH },
        reject: false,
        stdin: 'ignore',
        timeout: 10_000,
      }),
    ),
  );
  const [flock, unshare] = versions;
  const wayOut = 'Install util-linux.';
  if (flock?.failed !== false)
    return missing(name, `flock is not on ${STANDARD_PATH}: no program can be started`, wayOut);
  if (unshare?.failed !== false)
    return note(
      name,
      `unshare is not on ${STANDARD_PATH}: programs have no namespace of their own`,
      wayOut,
    );
  return ok(name, flock.stdout.split('\n', 1)[0] ?? 'both are there');
}

function examineDevices(host: HostInfo | null, settings: Settings): Check[] {
  const name = 'devices';
  if (host === null) {
    if (settings.gpus === null) return [];
    const named = settings.gpus.length === 0 ? 'none' : settings.gpus.join(', ');
    return [ok(name, `${named}, as the settings name them`)];
  }
  if (host.devices.length === 0)
    return [note(name, 'the process host has none', 'Steps with `on: { gpus }` fail here.')];
  const states = host.devices.map(
    ({ id, state, holder }) => `${id} ${state}${holder === undefined ? '' : ` (${holder})`}`,
  );
  const foreign = host.devices.some(({ state }) => state === 'foreign');
  return [
    foreign
      ? note(name, states.join('; '), 'A device that someone else uses is not given to a step.')
      : ok(name, states.join('; ')),
  ];
}

/** Whether ending a worker of this machine would end the host too. */
function examineRedeploy(host: HostInfo | null): Check[] {
  if (host === null) return [];
  const standing = readHostStanding(host);
  const warnings = findWorkers()
    .map((pid) => readStanding(pid))
    .map((worker) =>
      worker === null ? null : redeployWarning(worker, standing, readFirstProcess()),
    )
    .filter((warning) => warning !== null);
  const [warning] = warnings;
  const name = 'redeploy';
  if (warning === undefined)
    return [ok(name, 'the process host stands apart from the workers that can be seen')];
  return [
    note(name, warning, 'docs/operating.md shows units and a compose file that keep both apart.'),
  ];
}

/** Pids of worker processes that can be seen. */
function findWorkers(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return args
          .slice(0, 3)
          .some((arg) => arg.endsWith('/dist/worker/main.js') || arg === 'dist/worker/main.js');
      } catch {
        return false;
      }
    });
}

/** `adit hold` acts on the state folder of the server that it finds, which may be the one of `adit dev`. */
async function examineHold(stateDir: string): Promise<Check> {
  const held: string[] = [];
  for (const folder of evidenceRoots(stateDir)) {
    const hold = await readHold(folder);
    if (hold !== null) held.push(`${folder}: ${holdWords(hold)}`);
  }
  if (held.length === 0) return ok('effects', 'not held');
  return note('effects', held.join('; '), 'Steps that would act wait until then.');
}
