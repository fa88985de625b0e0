/**
 * The index of the starts that live, one file each, `<marker>.json`: what a later host looks through first. The
 * program holds the lock of its entry for as long as anything of it lives.
 *
 * The entry of a shim that waits for its word is empty and called `<marker>.spare`; it becomes the program's by a
 * rename. So a start makes and removes a single file here: a file system is slow to give out what was just freed.
 *
 * Entries of record version 2 as first shipped had no lock; that was on `<marker>.lock` beside them.
 */
import { renameSync, unlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PROGRAM_RECORD_VERSION, type ProgramPlace } from '../core/host-protocol.js';
import { lookAtFile } from './look-at-file.js';
import { readRecord } from './program-records.js';

/** One start that may live. */
export interface IndexRecord extends ProgramPlace {
  readonly version: number;
  readonly marker: string;
}

/** The entry of a shim that is no program's yet. */
export function spareEntry(folder: string, marker: string): string {
  return path.join(folder, `${marker}.spare`);
}

/** Gives the entry of a spare shim to a program. */
export function writeIndex(folder: string, entry: Omit<IndexRecord, 'version'>): void {
  const spare = spareEntry(folder, entry.marker);
  const record = { version: PROGRAM_RECORD_VERSION, ...entry };
  writeFileSync(spare, `${JSON.stringify(record)}\n`, { flag: 'r+' });
  renameSync(spare, entryOf(folder, entry.marker));
}

export function readIndex(file: string): IndexRecord | null {
  const record = readRecord(file);
  if (record === null) return null;
  const { runId, stepPath, start, marker } = record;
  if (typeof runId !== 'string' || typeof stepPath !== 'string') return null;
  if (typeof start !== 'number' || typeof marker !== 'string') return null;
  return { version: Number(record['version']), runId, stepPath, start, marker };
}

/** True for the file name of an entry that is a program's. */
export function isEntry(name: string): boolean {
  return name.endsWith('.json');
}

/** The file whose lock a program holds. */
export function lockFileOf(folder: string, marker: string): string {
  const beside = besideEntry(folder, marker);
  return lookAtFile(beside) === null ? entryOf(folder, marker) : beside;
}

/** Removes what there is of an entry. What cannot be removed is over all the same: its records say so. */
export function forgetIndex(folder: string, marker: string): void {
  for (const file of [
    spareEntry(folder, marker),
    entryOf(folder, marker),
    besideEntry(folder, marker),
  ]) {
    try {
      unlinkSync(file);
    } catch {
      // Not there, or the disk fails; the next host looks at it again.
    }
  }
}

function entryOf(folder: string, marker: string): string {
  return path.join(folder, `${marker}.json`);
}

function besideEntry(folder: string, marker: string): string {
  return path.join(folder, `${marker}.lock`);
}
