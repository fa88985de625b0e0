/** The sections of docs/diagnostics.md; its head says how one is built. */

export interface Example {
  /** The file, or what the command prints. */
  readonly content: string;
  /** Null where the example is a file. */
  readonly command: string | null;
  /** Further codes that a wrong example gives. */
  readonly also: readonly string[];
}

export interface Section {
  readonly code: string;
  /** The text before the first example. */
  readonly meaning: string;
  /** Files that are shown beside the examples, by name. */
  readonly files: ReadonlyMap<string, string>;
  readonly wrong: readonly Example[];
  readonly right: readonly Example[];
}

/** Throws where a block has no label that says what it is. */
export function readSections(text: string): Section[] {
  return text
    .split(/^## /m)
    .slice(1)
    .map((section) => readSection(section.slice(0, section.indexOf('\n')).trim(), section));
}

function readSection(code: string, text: string): Section {
  const files = new Map<string, string>();
  const wrong: Example[] = [];
  const right: Example[] = [];
  // The label is the last line above the block that is not blank.
  const blocks = [...text.matchAll(/([^\n]*)\n+```(yaml|console)\n([\s\S]*?\n)```$/gm)];
  for (const [, label = '', language, content = ''] of blocks) {
    const also = [...label.matchAll(/`([A-Z_]+)`/g)].map(([, other = '']) => other);
    const [first = '', ...output] = content.trimEnd().split('\n');
    const example: Example =
      language === 'console'
        ? { content: output.join('\n'), command: first.replace(/^\$ /, ''), also }
        : { content, command: null, also };
    const file = /^`([\w.-]+)`:$/.exec(label)?.[1];
    if (label.startsWith('Wrong')) wrong.push(example);
    else if (label.startsWith('Right')) right.push(example);
    else if (file !== undefined) files.set(file, content);
    else throw new Error(`${code}: what is the block under "${label}"?`);
  }
  return { code, meaning: text.slice(code.length).split(/^Wrong/m)[0]?.trim() ?? '', files, wrong, right };
}
