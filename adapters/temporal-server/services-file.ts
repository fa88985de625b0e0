/**
 * What `adit dev` and `adit demo` keep running on this machine, as written to
 * `<state>/dev/services.json` and `<state>/demo/services.json`: addresses and processes, no secrets.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { isJsonObject } from '../../core/json.js';
import { isAlive, type ProcessIdentity } from './process-identity.js';

export type ServicesKind = 'dev' | 'demo';

export interface Services {
  readonly kind: ServicesKind;
  /** The command that watches over them; absent once `demo --keep` has left. */
  readonly keeper?: ProcessIdentity;
  readonly startedAt: string;
  readonly temporal: {
    readonly address: string;
    readonly namespace: string;
    readonly ui: string | null;
    /** Null: it is somebody else's, and is neither watched nor ended. */
    readonly process: ProcessIdentity | null;
    /** True: Adit started it with the tuned configuration. */
    readonly tuned: boolean;
  };
  readonly devnet: {
    readonly coordinator: string;
    readonly pool: string;
    readonly artifacts: string;
    readonly process: ProcessIdentity;
  };
  readonly worker: { readonly taskQueue: string; readonly process: ProcessIdentity };
  /** Settings under which a command reaches this network: `ADIT_*` variables, paths and addresses only. */
  readonly variables: { readonly [name: string]: string };
}

/** Folder of everything that the services keep: data, logs, state file. */
export function servicesFolder(stateDir: string, kind: ServicesKind): string {
  return path.join(stateDir, kind);
}

function servicesFile(stateDir: string, kind: ServicesKind): string {
  return path.join(servicesFolder(stateDir, kind), 'services.json');
}

/** What the file says, whether or not it still runs; null when there is none or it cannot be read. */
export function readServices(stateDir: string, kind: ServicesKind): Services | null {
  try {
    const value: unknown = JSON.parse(readFileSync(servicesFile(stateDir, kind), 'utf8'));
    return isServices(value) ? value : null;
  } catch {
    return null;
  }
}

/** The services whose Temporal server (or worker, on somebody else's server) lives; null when there are none. */
export function readRunningServices(stateDir: string, kind: ServicesKind): Services | null {
  const services = readServices(stateDir, kind);
  if (services === null) return null;
  return isAlive(services.temporal.process ?? services.worker.process) ? services : null;
}

export function writeServices(stateDir: string, services: Services): void {
  const file = servicesFile(stateDir, services.kind);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(`${file}.tmp`, `${JSON.stringify(services, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.tmp`, file);
}

export function removeServices(stateDir: string, kind: ServicesKind): void {
  rmSync(servicesFile(stateDir, kind), { force: true });
}

function isServices(value: unknown): value is Services {
  if (!isJsonObject(value)) return false;
  const { temporal, devnet, worker, variables } = value;
  return (
    isJsonObject(temporal) &&
    typeof temporal['address'] === 'string' &&
    (temporal['process'] === null || isIdentity(temporal['process'])) &&
    isJsonObject(devnet) &&
    isIdentity(devnet['process']) &&
    isJsonObject(worker) &&
    isIdentity(worker['process']) &&
    isJsonObject(variables)
  );
}

function isIdentity(value: unknown): boolean {
  return (
    isJsonObject(value) && typeof value['pid'] === 'number' && typeof value['birth'] === 'string'
  );
}
