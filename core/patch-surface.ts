/**
 * The validator's checks of a patch before it clones (protocol 4.3), quirks included: a patch that
 * fails here would be rejected there. Read the paths as it reads them, also where that is wrong.
 */
import { fnmatch } from './fnmatch.js';

/** The validator's own names for a refusal (`validator_rejection=<reason>`). */
export type PatchRejection =
  | 'patch_too_large'
  | 'unparseable_patch_surface'
  | 'generated_python_cache_paths'
  | 'disallowed_patch_paths';

export interface PatchSurface {
  /** Paths or globs; an empty list allows nothing. */
  readonly allowedPatchPaths: readonly string[];
  readonly maxPatchBytes: number;
}

export type PatchCheck =
  | { readonly ok: true; readonly paths: readonly string[] }
  | {
      readonly ok: false;
      readonly reason: PatchRejection;
      /** The paths to blame; empty where no path is. */
      readonly paths: readonly string[];
    };

/** No file system holds a longer path; a longer "path" is text that was misread as one. */
const LONGEST_PATH = 4_096;

/** The ordered checks of protocol 4.3. A blank patch passes with no paths: whether it may be empty is the caller's question. */
export function checkPatchSurface(patch: string, surface: PatchSurface): PatchCheck {
  if (utf8SizeBytes(patch) > surface.maxPatchBytes) {
    return { ok: false, reason: 'patch_too_large', paths: [] };
  }
  const paths = readPatchPaths(patch);
  if (paths.length === 0 && trimPython(patch) !== '') {
    return { ok: false, reason: 'unparseable_patch_surface', paths: [] };
  }
  const bytecode = paths.filter(isPythonBytecode);
  if (bytecode.length > 0) {
    return { ok: false, reason: 'generated_python_cache_paths', paths: bytecode };
  }
  const outside = paths.filter((path) => !isInSurface(path, surface.allowedPatchPaths));
  if (outside.length > 0) return { ok: false, reason: 'disallowed_patch_paths', paths: outside };
  return { ok: true, paths };
}

/** True when one of the patterns matches the path (Python `fnmatch`, case-sensitive). */
export function isInSurface(path: string, allowedPatchPaths: readonly string[]): boolean {
  if (path.length > LONGEST_PATH) return false;
  return allowedPatchPaths.some(
    (pattern) => pattern.length <= LONGEST_PATH && fnmatch(path, pattern),
  );
}

/** True for what the validator takes for compiled Python (protocol 4.3, rule 3). */
export function isPythonBytecode(path: string): boolean {
  return /\.py[co]$/i.test(path);
}

/**
 * The paths that the validator reads from a patch (protocol 4.3), in order of appearance, each once:
 * both names of a `diff --git a/X b/Y` line, and every line that starts with `--- ` or `+++ `,
 * content that only looks like such a line included.
 */
export function readPatchPaths(patch: string): string[] {
  const paths = new Set<string>();
  for (const rawLine of splitPythonLines(patch)) {
    const line = trimPythonEnd(rawLine);
    if (line.startsWith(GIT_HEADER)) {
      const names = line.slice(GIT_HEADER.length);
      const cut = names.indexOf(' b/', 1);
      if (cut > 0 && names.length > cut + 3) {
        paths.add(withoutSidePrefix(names.slice(0, cut)));
        paths.add(withoutSidePrefix(names.slice(cut + 3)));
      }
    }
    if (line.startsWith('--- ') || line.startsWith('+++ ')) {
      const name = trimPython(line.slice(4).split('\t', 1)[0] as string);
      if (name !== '/dev/null') paths.add(withoutSidePrefix(name));
    }
  }
  return [...paths];
}

const GIT_HEADER = 'diff --git a/';

function withoutSidePrefix(name: string): string {
  return name.startsWith('a/') || name.startsWith('b/') ? name.slice(2) : name;
}

/** Lines as Python's `str.splitlines()` cuts them, without their ends. */
export function splitPythonLines(text: string): string[] {
  const lines = text.split(PYTHON_LINE_END);
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

// oxlint-disable-next-line no-control-regex -- Python counts these control characters as line ends.
const PYTHON_LINE_END = /\r\n|[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]/;

/** What Python's `str.isspace` calls white space; JavaScript's `trim` knows another set. */
function isPythonSpace(code: number): boolean {
  return (
    (code >= 0x09 && code <= 0x0d) ||
    (code >= 0x1c && code <= 0x20) ||
    code === 0x85 ||
    code === 0xa0 ||
    code === 0x1680 ||
    (code >= 0x2000 && code <= 0x200a) ||
    code === 0x2028 ||
    code === 0x2029 ||
    code === 0x202f ||
    code === 0x205f ||
    code === 0x3000
  );
}

function trimPythonEnd(text: string): string {
  let end = text.length;
  while (end > 0 && isPythonSpace(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(0, end);
}

function trimPython(text: string): string {
  const kept = trimPythonEnd(text);
  let start = 0;
  while (start < kept.length && isPythonSpace(kept.charCodeAt(start))) start += 1;
  return kept.slice(start);
}

/** Size of a text in UTF-8, without encoding it: `core/` has no encoder in the workflow sandbox. */
export function utf8SizeBytes(text: string): number {
  let size = 0;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code < 0x80) size += 1;
    else if (code < 0x800) size += 2;
    else if (code >= 0xd800 && code < 0xdc00 && isLowSurrogate(text.charCodeAt(i + 1))) {
      size += 4;
      i += 1;
    } else size += 3;
  }
  return size;
}

function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code < 0xe000;
}
