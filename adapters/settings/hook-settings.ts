/** Settings of the hooks that are told what happens to runs (docs/notifications.md). No message shows an address. */
import { z } from 'zod';
import { NOTICE_EVENTS } from '../../core/notice.js';
import { isAllowedScheme } from '../http/allowed-url.js';

export const hookSettings = {
  notifyUrl: z
    .string()
    .trim()
    .min(1)
    .refine(isAllowed, {
      error:
        'an address for notices is https (plain http to loopback only), without a user or a password',
    })
    .nullable()
    .default(null)
    .describe('Address that notices of runs are POSTed to.'),
  notifySecretFile: z
    .string()
    .trim()
    .min(1)
    .nullable()
    .default(null)
    .describe('File that holds the secret by which notices are signed.'),
  notifyCommand: z
    .preprocess(fromJson, z.array(z.string()).nullable().default(null))
    .refine((argv) => argv === null || isProgram(argv[0]), {
      error: 'a command is a list that begins with a whole path, or with a name on PATH',
    })
    .describe('Command that gets notices of runs on its stdin.'),
  notifyEvents: z
    .preprocess(
      (value) => (typeof value === 'string' ? value.split(',').map((one) => one.trim()) : value),
      z.array(z.enum(NOTICE_EVENTS)).min(1).nullable().default(null),
    )
    .describe('Events that are told; null: all.'),
};

function isAllowed(address: string): boolean {
  if (!URL.canParse(address)) return false;
  const url = new URL(address);
  return isAllowedScheme(url) && url.username === '' && url.password === '';
}

/** A variable holds the list as JSON. */
function fromJson(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function isProgram(name: string | undefined): boolean {
  if (name === undefined || name === '' || name.includes('\0')) return false;
  return name.startsWith('/') || !name.includes('/');
}
