/** What of a program's files tells that something has changed. */
import type { ProgramFiles } from '../core/host-protocol.js';
import { isJsonObject, type Json } from '../core/json.js';
import { lookAtFile } from './look-at-file.js';

/** A snapshot without what changes although nothing happened. */
export function withoutTimes(snapshot: Json): Json {
  if (!isJsonObject(snapshot)) return snapshot;
  const { lookedAtMs: _looked, silentMs: _silent, ...rest } = snapshot;
  return rest;
}

/** What changes whenever the program writes. */
export function sizesOf({ log, metricsFile }: ProgramFiles): string {
  const found = [log, metricsFile].map((file) => lookAtFile(file));
  return found.map((stat) => `${stat?.ino} ${stat?.size} ${stat?.mtimeMs}`).join();
}

/** False when there is nothing to read of it. */
export function hasWritten({ log, metricsFile }: ProgramFiles): boolean {
  return lookAtFile(log)?.size !== 0 || lookAtFile(metricsFile) !== null;
}

/** Null where there is no such folder. */
export function inodeOf(root: string): number | null {
  return lookAtFile(root)?.ino ?? null;
}
