import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { assertLocalDisk, requireFreeSpace } from './disk.js';

describe('the disk of the state folder', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'adit-disk-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('is taken when it is local', async () => {
    await assertLocalDisk(folder);
    await assertLocalDisk('/proc');
  });

  it.each([
    [0x6969, 'NFS'],
    [0x517b, 'SMB'],
    [0xff534d42, 'SMB (cifs)'],
    [0xff534d42 | 0, 'SMB (cifs)'],
    [0x01021997, '9p'],
    [0x5346414f, 'AFS'],
    [0x00c36400, 'Ceph'],
  ])('is refused when statfs says %i', async (statfsType, name) => {
    await expect(assertLocalDisk(folder, { statfsType })).rejects.toMatchObject({
      code: 'HOST_UNUSABLE',
      message: `The folder ${folder} lies on a network file system (${name}), where locks may not keep two machines apart.`,
    });
  });

  const fuse = (type: string): { statfsType: number; mounts: string } => ({
    statfsType: 0x65735546,
    mounts: [
      '21 1 8:1 / / rw - ext4 /dev/sda1 rw',
      `22 21 0:40 / ${folder.replace('adit', '\\141dit')} rw - ${type} remote:/ rw`,
      `23 21 0:41 / ${folder}-other rw - fuse.sshfs remote:/ rw`,
    ].join('\n'),
  });

  it.each(['fuse.sshfs', 'fuse.glusterfs', 'fuse.rclone', 'fuse'])(
    'is refused when a FUSE file system of type %s lies there',
    async (type) => {
      await expect(assertLocalDisk(folder, fuse(type))).rejects.toMatchObject({
        code: 'HOST_UNUSABLE',
        message: expect.stringContaining(`(${type})`) as string,
      });
    },
  );

  it.each(['fuseblk', 'fuse.fuse-overlayfs', 'virtiofs'])('may be %s', async (type) => {
    await assertLocalDisk(folder, fuse(type));
  });

  it('has enough room, or the start is refused with the numbers', async () => {
    const file = path.join(folder, 'not', 'yet', 'there');
    requireFreeSpace(file, 1);
    expect(() => requireFreeSpace(file, 2 ** 50)).toThrow(
      expect.objectContaining({
        code: 'DISK_LOW',
        message: expect.stringMatching(
          `^${file} has \\d+ bytes free; at least 1125899906842624 are needed\\.$`,
        ) as string,
      }),
    );
  });
});
