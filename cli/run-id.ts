import { randomBytes } from 'node:crypto';

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

/** `<pipeline>-<yyyymmdd-hhmmss, UTC>-<4 random characters>`; also the workflow id. */
export function createRunId(pipeline: string, now: Date): string {
  const time = now.toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');
  const random = [...randomBytes(4)].map((byte) => BASE32[byte % 32]).join('');
  return `${pipeline}-${time}-${random}`;
}

/** When a run was started, by its id; ISO 8601, UTC; null when the id is not one of ours. */
export function timeOfRunId(runId: string): string | null {
  const parts = /-(\d{4})(\d{2})(\d{2})-(\d{2})(\d{2})(\d{2})-[a-z2-7]{4}$/.exec(runId);
  if (parts === null) return null;
  const [, year, month, day, hour, minute, second] = parts;
  return `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
}
