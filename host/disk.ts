/** What the disk of the state folder must be able to do. */
import { statfsSync, type StatsFs } from 'node:fs';
import { readFile, realpath, statfs } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../core/error.js';

/** statfs types of file systems that other machines may have mounted too: a lock taken here may not hold there. */
const NETWORK_TYPES = new Map<number, string>([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xff534d42, 'SMB (cifs)'],
  [0xfe534d42, 'SMB (smb2)'],
  [0x01021997, '9p'],
  [0x5346414f, 'AFS'],
  [0x6b414653, 'AFS'],
  [0x73757245, 'Coda'],
  [0x564c, 'NCP'],
  [0x00c36400, 'Ceph'],
  [0x0bd00bd0, 'Lustre'],
  [0x47504653, 'GPFS'],
  [0x19830326, 'BeeGFS'],
  [0x7461636f, 'OCFS2'],
  [0x01161970, 'GFS2'],
  [0x20030528, 'OrangeFS'],
  [0xaad7aaea, 'PanFS'],
]);

const FUSE_TYPE = 0x65735546;
/** FUSE file systems of one machine, or layers over a local disk; every other one may be remote. */
const LOCAL_FUSE = new Set([
  'fuseblk',
  'fuse.fuse-overlayfs',
  'fuse.mergerfs',
  'fuse.gocryptfs',
  'fuse.encfs',
  'fuse.bindfs',
  'fuse.lxcfs',
  'virtiofs',
]);

/**
 * Throws HOST_UNUSABLE when a folder lies on a network file system. `statfsType` and `mounts` stand for what the
 * system says: the type of the file system, and the text of /proc/self/mountinfo.
 */
export async function assertLocalDisk(
  folder: string,
  found: { readonly statfsType?: number; readonly mounts?: string } = {},
): Promise<void> {
  const real = await realpath(folder);
  // Some types have the sign bit of 32 bits set.
  const type = (found.statfsType ?? (await statfs(real)).type) >>> 0;
  let name = NETWORK_TYPES.get(type);
  if (type === FUSE_TYPE) {
    const mounts = found.mounts ?? (await readFile('/proc/self/mountinfo', 'utf8'));
    const kind = mountType(real, mounts);
    if (!LOCAL_FUSE.has(kind)) name = kind;
  }
  if (name === undefined) return;
  throw new StepError(
    'HOST_UNUSABLE',
    `The folder ${folder} lies on a network file system (${name}), where locks may not keep two machines apart.`,
    { hint: 'Give the state folder a place on a local disk of this machine.' },
  );
}

/** The type of the mount that a path lies on, as mountinfo names it. */
function mountType(real: string, mounts: string): string {
  let best = { length: -1, type: 'fuse' };
  for (const line of mounts.split('\n')) {
    const [mount = '', source = ''] = line.split(' - ', 2);
    const escaped = mount.split(' ')[4];
    const [type] = source.split(' ');
    if (escaped === undefined || type === undefined) continue;
    const point = escaped.replace(/\\([0-7]{3})/g, (_all, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 8)),
    );
    const isInside = point === '/' || real === point || real.startsWith(`${point}/`);
    // The later of two mounts at one place lies over the earlier.
    if (isInside && point.length >= best.length) best = { length: point.length, type };
  }
  return best.type;
}

/** Throws DISK_LOW when less than `minFreeBytes` is free for us on the disk of a folder, which need not exist yet. */
export function requireFreeSpace(folder: string, minFreeBytes: number): void {
  const { bavail, bsize } = statfsOfNearest(path.resolve(folder));
  const freeBytes = bavail * bsize;
  if (freeBytes >= minFreeBytes) return;
  throw new StepError(
    'DISK_LOW',
    `${folder} has ${freeBytes} bytes free; at least ${minFreeBytes} are needed.`,
    { hint: 'Free some space (`adit prune`), or set ADIT_MIN_FREE_BYTES or ADIT_STATE_DIR.' },
  );
}

function statfsOfNearest(folder: string): StatsFs {
  try {
    return statfsSync(folder);
  } catch (error) {
    const parent = path.dirname(folder);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || parent === folder) throw error;
    return statfsOfNearest(parent);
  }
}
