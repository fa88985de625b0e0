import { z } from 'zod';
import { parseDuration } from '../core/duration.js';

/** A duration as an input; the checker knows it by its id. */
export const durationSchema = z
  .string()
  .refine((text) => parseDuration(text) !== null, 'is no duration, such as `90s` or `1h30m`')
  .meta({ id: 'duration' });

/** Milliseconds of a duration that the schema has accepted; undefined for none. */
export function durationMs(text: string): number;
export function durationMs(text: string | undefined): number | undefined;
export function durationMs(text: string | undefined): number | undefined {
  return text === undefined ? undefined : (parseDuration(text) ?? undefined);
}
