/** Local networks that are used again: to start one takes as long as a run on it. */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { settleAll } from '../settle-all.js';
import type { Base } from './base.js';
import { openSite, type Site, type SiteOptions } from './site.js';

/** A site, and what is known of it from run to run. */
export interface Lane {
  readonly site: Site;
  /** Of its last run without a fault; null before one. */
  base: Base | null;
  /** Something of the last run may still go on in the worker: another one plays the next. */
  isWorkerSpent: boolean;
}

export interface SitePool {
  /** Gives `use` a lane that nobody else uses. One for which `use` returns `isFit: false`, or throws, is ended. */
  with<T>(
    use: (lane: Lane) => Promise<{ readonly result: T; readonly isFit: boolean }>,
  ): Promise<T>;
  /** Ends those that nobody uses. */
  close(): Promise<void>;
}

/** `folder` is where theirs are made. */
export function createSitePool(folder: string, options: Omit<SiteOptions, 'folder'>): SitePool {
  const idle: Lane[] = [];
  const open = async (): Promise<Lane> => {
    const ofLane = path.join(folder, randomBytes(6).toString('hex'));
    return {
      site: await openSite({ ...options, folder: ofLane }),
      base: null,
      isWorkerSpent: false,
    };
  };
  return {
    async with(use) {
      const lane = idle.pop() ?? (await open());
      let isFit = false;
      try {
        const used = await use(lane);
        isFit = used.isFit;
        return used.result;
      } finally {
        if (isFit) idle.push(lane);
        else await lane.site.close();
      }
    },
    async close() {
      await settleAll(idle.splice(0).map(({ site }) => site.close()));
    },
  };
}
