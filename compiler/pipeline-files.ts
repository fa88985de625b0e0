/** Which file a `pipeline:` means, by rules that need no disk; reading it is left to who calls the compiler. */

/** Reads the files that pipelines call. Never throws: what cannot be read is told in words. */
export interface PipelineFiles {
  /** What makes a file itself, by whatever name it is called; null for one that is in no folder. */
  identify(file: string): string | null;
  /** The file that `name` means in the file `from`, which is one that was given or read before. */
  read(name: string, from: string): PipelineFile | UnreadableFile;
}

export interface PipelineFile {
  readonly identity: string;
  /** Its name in messages, which is a path that can be opened from where the caller's name can. */
  readonly file: string;
  readonly content: Uint8Array;
  /** Of the content, lower-case hex. */
  readonly sha256: string;
}

export interface UnreadableFile {
  /** Why, as the rest of a sentence: `there is no such file`. */
  readonly problem: string;
  /** Names that would mean a file there. */
  readonly near: readonly string[];
  /** The way out, where it is not the name. */
  readonly hint?: string;
}

/** For pipelines that come without files. */
export const NO_FILES: PipelineFiles = {
  identify: () => null,
  read: () => ({ problem: 'files cannot be read here', near: [], hint: '' }),
};

/** What is wrong with the name itself; null when it may mean a file. */
export function findNameProblem(
  name: string,
): { readonly problem: string; readonly hint: string } | null {
  if (name.includes('${{')) {
    return {
      problem:
        'the file that is called is known before the run starts, so its name has no expressions',
      hint: 'to choose between two files write `if:`, with one call in `then` and one in `else`',
    };
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(name)) {
    return {
      problem: 'a pipeline is called from a file, not from an address',
      hint: 'copy it beside this file, and call it as `./name.yaml`',
    };
  }
  if (/^(?:[/\\~]|[a-z]:[/\\])/i.test(name)) {
    return {
      problem: 'the name of a called file is relative to the file that calls it',
      hint: 'an absolute path means another file, or none, on another machine: write `./name.yaml`',
    };
  }
  if (!/\.ya?ml$/.test(name)) {
    return {
      problem: `\`${name}\` is not the name of a pipeline file`,
      hint: 'it ends in `.yaml` or `.yml`, and is relative to this file: `./gate.yaml`',
    };
  }
  return null;
}

/**
 * True for a text that is meant to be a pipeline. Of another file, which may be anything on the machine, no line is
 * shown: checking somebody's pipeline must not tell them what is in it.
 */
export function looksLikePipeline(content: Uint8Array): boolean {
  const text = new TextDecoder().decode(content);
  return text.trimStart().startsWith('{')
    ? /["']?\bpipeline\b["']?\s*:/.test(text)
    : /^["']?pipeline["']?\s*:/m.test(text);
}
