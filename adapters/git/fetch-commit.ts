/** Resolves a ref of a remote repository to a commit, and fetches that commit alone. */
import { StepError } from '../../core/error.js';
import { plainText } from '../../core/plain-text.js';
import type { GitCommandResult, RunGit } from './git-command.js';
import { checkRef, checkRepositoryAddress } from './repository-address.js';

const LIST_TIMEOUT_MS = 60_000;
const FETCH_TIMEOUT_MS = 15 * 60_000;
const KEPT_REF = 'refs/adit/base';

export interface FetchRequest {
  readonly repository: string;
  /** Branch, tag or 40-digit commit. */
  readonly ref: string;
  readonly gitDir: string;
  readonly signal: AbortSignal | undefined;
}

/**
 * Fetches what the ref names, without history, into the git directory and returns its 40-digit commit.
 * Throws REPOSITORY_REFUSED before anything is sent; REPOSITORY_UNAVAILABLE, REF_NOT_FOUND, DISK_FULL.
 */
export async function fetchCommit(runGit: RunGit, request: FetchRequest): Promise<string> {
  const { repository, ref, gitDir, signal } = request;
  const address = checkRepositoryAddress(repository);
  checkRef(ref);
  const network = address.protocol === 'http:' ? 'http' : 'https';

  const fetch = (source: string, depth: readonly string[]): Promise<GitCommandResult> =>
    runGit(
      [
        'fetch',
        '--quiet',
        '--no-tags',
        '--no-recurse-submodules',
        '--no-write-fetch-head',
        ...depth,
        '--',
        repository,
        source,
      ],
      { gitDir, network, signal, timeoutMs: FETCH_TIMEOUT_MS },
    );

  if (/^[0-9a-f]{40}$/.test(ref)) {
    const single = await fetch(`+${ref}:${KEPT_REF}`, ['--depth=1']);
    if (single.exitCode !== 0) {
      // A server may refuse to hand out a commit that no ref points at: then all refs, with history.
      assertFetched(await fetch('+refs/*:refs/remote/*', []), repository);
    }
    return commitOf(ref);
  }
  const source = await findRef(ref);
  assertFetched(await fetch(`+${source}:${KEPT_REF}`, ['--depth=1']), repository);
  return commitOf(KEPT_REF);

  async function findRef(name: string): Promise<string> {
    const wanted =
      name === 'HEAD' || name.startsWith('refs/')
        ? [name]
        : [`refs/heads/${name}`, `refs/tags/${name}`, `refs/tags/${name}^{}`];
    const listed = await runGit(['ls-remote', '--quiet', '--', repository, ...wanted], {
      network,
      signal,
      timeoutMs: LIST_TIMEOUT_MS,
      maxOutputBytes: 4 * 1024 * 1024,
    });
    assertFetched(listed, repository);
    const found = new Map<string, string>();
    for (const line of listed.stdout.toString('utf8').split('\n')) {
      const [object = '', advertised = ''] = line.split('\t');
      if (/^[0-9a-f]{40}$/.test(object)) found.set(advertised, object);
    }
    const [first = '', tag = '', peeled = ''] = wanted;
    const branchCommit = found.get(first);
    const tagCommit = found.get(peeled) ?? found.get(tag);
    if (branchCommit !== undefined && tagCommit !== undefined && branchCommit !== tagCommit) {
      throw new StepError(
        'REPOSITORY_REFUSED',
        `${repository} has both a branch and a tag ${name}, at different commits.`,
        { hint: 'Which one is meant only the poster of the task can say.' },
      );
    }
    if (branchCommit !== undefined) return first;
    if (tagCommit !== undefined) return tag;
    throw refNotFound();
  }

  async function commitOf(name: string): Promise<string> {
    const parsed = await runGit(
      ['rev-parse', '--verify', '--quiet', '--end-of-options', `${name}^{commit}`],
      {
        gitDir,
        signal,
      },
    );
    const commit = parsed.stdout.toString('utf8').trim();
    if (parsed.exitCode !== 0 || !/^[0-9a-f]{40}$/.test(commit)) throw refNotFound();
    return commit;
  }

  function refNotFound(): StepError {
    return new StepError(
      'REF_NOT_FOUND',
      `${repository} has no branch, tag or commit ${plainText(ref, 200)}.`,
      { hint: "The task's base_ref may have moved: read the task again, or tell its poster." },
    );
  }
}

function assertFetched(result: GitCommandResult, repository: string): void {
  if (result.exitCode === 0) return;
  if (/No space left on device/.test(result.stderr)) {
    throw new StepError('DISK_FULL', `No space left while fetching ${repository}.`);
  }
  const why = result.timedOut
    ? 'it took too long'
    : plainText(result.stderr, 300) || 'git gave no reason';
  throw new StepError('REPOSITORY_UNAVAILABLE', `${repository} could not be fetched: ${why}`, {
    hint: 'Is the address right and public, and the server up? A private repository cannot be cloned.',
  });
}
