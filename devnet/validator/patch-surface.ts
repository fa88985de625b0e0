/**
 * What a validator checks in a patch before it clones anything (protocol 4.3), quirks included: rule (b) of the
 * path extraction also reads content, `*` crosses `/`, and a top-level folder named `a` or `b` loses its name.
 */

/** Why a patch is refused; the log line is `validator_rejection=<reason>`. */
export type SurfaceRejection =
  | 'patch_too_large'
  | 'unparseable_patch_surface'
  | 'generated_python_cache_paths'
  | 'disallowed_patch_paths';

export interface SurfaceRules {
  readonly allowedPatchPaths: readonly string[];
  readonly maxPatchBytes: number;
}

/** The first check that the patch fails, in the validator's order; undefined when it passes all. */
export function checkPatchSurface(
  patch: string,
  rules: SurfaceRules,
): SurfaceRejection | undefined {
  if (Buffer.byteLength(patch, 'utf8') > rules.maxPatchBytes) {
    return 'patch_too_large';
  }
  if (isBlank(patch)) {
    return undefined;
  }
  const paths = pathsOfPatch(patch);
  if (paths.length === 0) {
    return 'unparseable_patch_surface';
  }
  if (paths.some((path) => /\.py[co]$/i.test(path))) {
    return 'generated_python_cache_paths';
  }
  const allowed = rules.allowedPatchPaths.map(globExpression);
  return paths.every((path) => allowed.some((expression) => expression.test(path)))
    ? undefined
    : 'disallowed_patch_paths';
}

/** Python's whitespace, which `str.strip` removes; JavaScript's `trim` differs in a few characters. */
const SPACE =
  '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';
const LEADING_SPACE = new RegExp(`^${SPACE}+`);
const TRAILING_SPACE = new RegExp(`${SPACE}+$`);
// oxlint-disable-next-line no-control-regex -- these are line ends for Python's splitlines
const LINE_ENDS = /\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]/;

/** True for text that Python's `strip` empties: such a patch counts as none. */
export function isBlank(text: string): boolean {
  return text.replace(LEADING_SPACE, '') === '';
}

/** Every path that the validator reads from a patch, each once, in order of appearance. */
export function pathsOfPatch(patch: string): string[] {
  const paths = new Set<string>();
  for (const untrimmed of patch.split(LINE_ENDS)) {
    for (const path of pathsOfLine(trimEnd(untrimmed))) {
      paths.add(path);
    }
  }
  return [...paths];
}

function pathsOfLine(line: string): string[] {
  const header = 'diff --git a/';
  if (line.startsWith(header)) {
    const [from, ...rest] = line.slice(header.length).split(' b/');
    if (from !== undefined && rest.length > 0) {
      return [from, rest.join(' b/')].map(withoutSide).filter((path) => path !== '');
    }
    return [];
  }
  if (line.startsWith('--- ') || line.startsWith('+++ ')) {
    const name = line.slice(4).split('\t')[0] ?? '';
    const path = trimEnd(name).replace(LEADING_SPACE, '');
    return path === '/dev/null' || path === ''
      ? []
      : [withoutSide(path)].filter((kept) => kept !== '');
  }
  return [];
}

function withoutSide(path: string): string {
  return path.startsWith('a/') || path.startsWith('b/') ? path.slice(2) : path;
}

// By hand: `\s+$` on a long run of blanks inside a line takes quadratic time.
function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && TRAILING_SPACE.test(text.charAt(end - 1))) {
    end -= 1;
  }
  return text.slice(0, end);
}

/** True when Python's `fnmatch.fnmatchcase` says so. */
export function matchesGlob(path: string, pattern: string): boolean {
  return globExpression(pattern).test(path);
}

function globExpression(pattern: string): RegExp {
  const characters = Array.from(pattern);
  let source = '';
  for (let at = 0; at < characters.length; at += 1) {
    const character = characters[at] ?? '';
    if (character === '*') {
      // Runs of stars mean one star, and collapsing them keeps the expression from backtracking.
      source += source.endsWith('[^]*') ? '' : '[^]*';
    } else if (character === '?') {
      source += '[^]';
    } else if (character === '[') {
      const close = closingBracket(characters, at);
      if (close === -1) {
        source += '\\[';
      } else {
        source += characterClass(characters.slice(at + 1, close));
        at = close;
      }
    } else {
      source += character.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&');
    }
  }
  return new RegExp(`^${source}$`, 'u');
}

/** Index of the bracket that closes a class; a `]` right after `[` or `[!` is a member. */
function closingBracket(characters: readonly string[], open: number): number {
  let at = open + 1;
  if (characters[at] === '!') {
    at += 1;
  }
  if (characters[at] === ']') {
    at += 1;
  }
  return characters.indexOf(']', at);
}

function characterClass(members: readonly string[]): string {
  const negated = members[0] === '!';
  const rest = negated ? members.slice(1) : members;
  let source = '';
  for (let at = 0; at < rest.length; at += 1) {
    const low = rest[at] ?? '';
    const high = rest[at + 2];
    if (rest[at + 1] === '-' && high !== undefined) {
      // An empty range such as [z-a] matches nothing in Python.
      source += low <= high ? `${escapeMember(low)}-${escapeMember(high)}` : '';
      at += 2;
    } else {
      source += escapeMember(low);
    }
  }
  if (source === '') {
    return negated ? '[^]' : '[]';
  }
  return `[${negated ? '^' : ''}${source}]`;
}

function escapeMember(character: string): string {
  return /[\\\]^-]/.test(character) ? `\\${character}` : character;
}
