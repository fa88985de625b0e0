/** Says when ending this worker would end the process host too, and with it every training. */
import { readFileSync, readlinkSync } from 'node:fs';
import type { HostInfo } from '../../core/host-protocol.js';

/** Where a process stands, as /proc tells. */
export interface ProcessStanding {
  readonly pid: number;
  readonly parentPid: number;
  readonly cgroup: string;
  /** The pid namespace; two processes of one container have the same. */
  readonly pidNamespace: string;
}

/** The standing of a process; null when it cannot be seen from here, as in another container. */
export function readStanding(pid: number | 'self'): ProcessStanding | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name stands in parentheses and may hold blanks and parentheses itself.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return {
      pid: pid === 'self' ? process.pid : pid,
      parentPid: Number(fields[1]),
      cgroup: readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim(),
      pidNamespace: readlinkSync(`/proc/${pid}/ns/pid`),
    };
  } catch {
    return null;
  }
}

/** The standing of a process host; null when it cannot be seen from here: its pid may be that of somebody else. */
export function readHostStanding({ pid, pidNamespace }: HostInfo): ProcessStanding | null {
  const standing = readStanding(pid);
  return standing?.pidNamespace === pidNamespace ? standing : null;
}

/** Programs that are pid 1 of a container for the one process that they start. */
const CONTAINER_INITS: ReadonlySet<string> = new Set([
  'tini',
  'docker-init',
  'dumb-init',
  'catatonit',
]);

/**
 * The warning; null when a redeploy of the worker leaves the host alone, as far as can be seen. `firstProcess` is
 * the name of pid 1.
 */
export function redeployWarning(
  worker: ProcessStanding,
  host: ProcessStanding | null,
  firstProcess: string,
): string | null {
  if (host === null || host.pidNamespace !== worker.pidNamespace) return null;
  const leadsContainer =
    worker.pid === 1 || (worker.parentPid === 1 && CONTAINER_INITS.has(firstProcess));
  if (leadsContainer) {
    return 'This worker is the main process of its container, and the process host runs in it: when the container ends, every program ends with it. Run `adit host` as a container of its own (docs/operating.md).';
  }
  const unit = systemdUnit(worker.cgroup);
  if (unit !== null && unit === systemdUnit(host.cgroup)) {
    return `The process host belongs to ${unit}, the unit of this worker: stopping the unit ends every program, unless it has KillMode=process. Run \`adit host\` as a unit of its own (docs/operating.md).`;
  }
  return null;
}

/** The name of pid 1; empty when it cannot be seen. */
export function readFirstProcess(): string {
  try {
    return readFileSync('/proc/1/comm', 'utf8').trim();
  } catch {
    return '';
  }
}

/** The systemd unit in the text of /proc/PID/cgroup: its last path segment that names a service or scope. */
function systemdUnit(cgroup: string): string | null {
  const segments = cgroup
    .split('\n')
    .flatMap((line) => line.split(':').slice(2).join(':').split('/'));
  // The session of a login is no unit that is redeployed.
  const units = segments.filter(
    (segment) => segment.endsWith('.service') && !segment.startsWith('user@'),
  );
  return units.at(-1) ?? null;
}
