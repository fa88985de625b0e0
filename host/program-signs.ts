/** What of a program's files tells that something has changed. */
import { lstatSync, statSync } from 'node:fs';
import type { ProgramFiles } from '../core/host-protocol.js';
import { isJsonObject, type Json } from '../core/json.js';

/** A snapshot without what changes although nothing happened. */
export function withoutTimes(snapshot: Json): Json {
  if (!isJsonObject(snapshot)) return snapshot;
  const { lookedAtMs: _looked, silentMs: _silent, ...rest } = snapshot;
  return rest;
}

/** What changes whenever the program writes. */
export function sizesOf({ log, metricsFile }: ProgramFiles): string {
  const found = [log, metricsFile].map((file) => lstatSync(file, { throwIfNoEntry: false }));
  return found.map((stat) => `${stat?.ino} ${stat?.size} ${stat?.mtimeMs}`).join();
}

/** False when there is nothing to read of it. */
export function hasWritten({ log, metricsFile }: ProgramFiles): boolean {
  const size = lstatSync(log, { throwIfNoEntry: false })?.size;
  return size !== 0 || lstatSync(metricsFile, { throwIfNoEntry: false }) !== undefined;
}

/** Null where there is no such folder. */
export function inodeOf(root: string): number | null {
  return statSync(root, { throwIfNoEntry: false })?.ino ?? null;
}
