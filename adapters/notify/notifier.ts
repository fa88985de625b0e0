/**
 * The hooks of this worker. What they are (an address that may hold a token, a secret, a command) never leaves this
 * folder: a delivery that fails says why in words of its own, without the text of any other error.
 */
import type { Hook, Notice } from '../../core/notice.js';
import type { Settings } from '../settings/settings.js';
import { runCommand } from './command-hook.js';
import { postWebhook } from './webhook.js';

/** How one attempt to tell a hook ended. */
export type HookOutcome =
  | { readonly kind: 'delivered' | 'not set' }
  /** Too many are under way; nothing was sent. */
  | { readonly kind: 'busy'; readonly retryAfterMs: number }
  | { readonly kind: 'failed'; readonly reason: string; readonly retryAfterMs?: number };

export interface Notifier {
  /** Tells one hook, once. Throws nothing but `signal.reason`. */
  deliver(hook: Hook, notice: Notice, signal: AbortSignal): Promise<HookOutcome>;
}

type HookSettings = Pick<Settings, 'notifyUrl' | 'notifySecretFile' | 'notifyCommand' | 'stateDir'>;

/** A slow target must leave a worker its room for steps. */
const MAX_AT_ONCE = 4;
const BUSY_MS = 2_000;

/** `environment` is what a command sees. */
export function createNotifier(
  settings: HookSettings,
  environment: { readonly [name: string]: string },
): Notifier {
  let underWay = 0;

  async function attempt(hook: Hook, notice: Notice, signal: AbortSignal): Promise<HookOutcome> {
    const { notifyUrl, notifySecretFile, notifyCommand, stateDir } = settings;
    if (hook === 'webhook') {
      if (notifyUrl === null) return { kind: 'not set' };
      return postWebhook({ url: notifyUrl, secretFile: notifySecretFile }, notice, signal);
    }
    if (notifyCommand === null) return { kind: 'not set' };
    return runCommand({ argv: notifyCommand, cwd: stateDir, env: environment }, notice, signal);
  }

  return {
    async deliver(hook, notice, signal) {
      signal.throwIfAborted();
      if (underWay >= MAX_AT_ONCE) {
        return { kind: 'busy', retryAfterMs: Math.round(BUSY_MS * (1 + Math.random())) };
      }
      underWay += 1;
      try {
        return await attempt(hook, notice, signal);
      } finally {
        underWay -= 1;
      }
    },
  };
}
