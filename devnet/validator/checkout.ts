/** The checkout that a replay works in: cloned, at the job's ref, with the patch applied (protocol 4.4). */
import { mkdir } from 'node:fs/promises';
import { runCommand, type Command } from './command.js';
import { PreparationFailed } from './preparation-failed.js';
import { isBlank } from './patch-surface.js';
import type { ReplayJob } from './job.js';

/** Clones, checks out and applies the patch. Every line of git's output goes to `log`. */
export async function makeCheckout(
  job: ReplayJob,
  folders: { readonly checkout: string; readonly home: string },
  limits: Pick<Command, 'deadline' | 'signal'>,
  log: (text: string) => void,
): Promise<void> {
  await mkdir(folders.home, { recursive: true });
  const git = async (args: readonly string[], cwd: string, input?: string): Promise<void> => {
    const result = await runCommand({
      file: 'git',
      args,
      cwd,
      environment: gitEnvironment(folders.home),
      ...(input === undefined ? {} : { input }),
      ...limits,
    });
    log(`$ git ${args.join(' ')}\n${result.output}`);
    if (result.timedOut) {
      throw new PreparationFailed(`git ${args[0]} ran past the time budget`);
    }
    if (result.exitCode !== 0) {
      throw new PreparationFailed(`git ${args[0]} failed: ${result.output.trim().slice(0, 500)}`);
    }
  };
  if (job.ref.startsWith('-')) {
    throw new PreparationFailed(`the ref ${job.ref} begins with a dash`);
  }
  await git(['clone', '--quiet', '--', job.repository, folders.checkout], folders.home);
  await git(['checkout', '--quiet', job.ref, '--'], folders.checkout);
  if (!isBlank(job.patch)) {
    await git(['apply', '-'], folders.checkout, job.patch);
  }
}

/** Git without the machine's or its user's settings, and without transports that run programs. */
function gitEnvironment(home: string): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '/usr/bin:/bin',
    HOME: home,
    LC_ALL: 'C.UTF-8',
    GIT_TERMINAL_PROMPT: '0',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ALLOW_PROTOCOL: 'http:https:file',
  };
}
