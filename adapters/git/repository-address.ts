/** Refuses repository addresses and refs that git could take for an option, a local path or another program. */
import { StepError } from '../../core/error.js';
import { plainText } from '../../core/plain-text.js';

/**
 * The clone address, checked: https, or http to this very machine; no user, no query, nothing that is
 * an option or a path. Throws REPOSITORY_REFUSED.
 */
export function checkRepositoryAddress(repository: string): URL {
  const refuse = (why: string): StepError =>
    new StepError('REPOSITORY_REFUSED', `The repository ${plainText(repository, 200)} ${why}.`, {
      hint: 'A task repository must be a plain https address (http only on this machine).',
    });
  if (repository.startsWith('-')) throw refuse('begins with a dash, as an option does');
  if (repository.length > 2_048) throw refuse('is longer than 2048 characters');
  if (!/^[\x21-\x7e]+$/.test(repository))
    throw refuse('holds a blank, control or non-ASCII character');
  if (!/^https?:\/\//.test(repository)) throw refuse('is no http or https address');
  if (!URL.canParse(repository)) throw refuse('is no valid address');
  const url = new URL(repository);
  if (url.username !== '' || url.password !== '') {
    throw new StepError(
      'REPOSITORY_REFUSED',
      `The repository address at ${url.host} holds a user name or password.`,
      {
        hint: 'Task repositories are public; give the address without credentials.',
      },
    );
  }
  if (url.search !== '' || url.hash !== '') throw refuse('holds a query or a fragment');
  if (repository.includes('\\') || /(?:^|\/)(?:\.|%2e){2}(?:\/|$)/i.test(repository)) {
    throw refuse('holds a path that climbs');
  }
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    throw refuse('is plain http to another machine');
  }
  if (url.protocol === 'https:' && isPrivateAddress(url.hostname)) {
    throw refuse('names an address of a private network');
  }
  return url;
}

/** True for the names and addresses of this very machine. */
function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(hostname);
}

function isPrivateAddress(hostname: string): boolean {
  return /^(?:10\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|0\.|\[f[cd]|\[fe[89ab])/.test(
    hostname,
  );
}

/** A branch, tag or commit id as git itself would accept it as a name. Throws REPOSITORY_REFUSED. */
export function checkRef(ref: string): void {
  const isName =
    ref.length > 0 &&
    ref.length <= 255 &&
    ref !== '@' &&
    !/^[-/.]|[/.]$|\.\.|\/\/|\/\.|@\{|\.lock(?:\/|$)|[\s~^:?*[\\\p{Cc}]/u.test(ref);
  if (!isName) {
    throw new StepError(
      'REPOSITORY_REFUSED',
      `${plainText(JSON.stringify(ref), 200)} is no name of a branch, tag or commit.`,
      {
        hint: "The task's base_ref must be a branch, a tag or a 40-digit commit.",
      },
    );
  }
}

/**
 * A path inside a checkout: relative, no `..`, no `.git`, no empty part, no control character.
 * False for anything else.
 */
export function isCheckoutPath(file: string): boolean {
  if (file === '' || file.length > 4_096 || /[\p{Cc}\\]/u.test(file) || file.startsWith('-'))
    return false;
  return file
    .split('/')
    .every((part) => part !== '' && part !== '.' && part !== '..' && !/^\.git$/i.test(part));
}
