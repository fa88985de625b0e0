/**
 * JSON as Python's parser reads it: `NaN`, `Infinity` and `-Infinity` are numbers, the last of two equal keys wins.
 * Objects become maps, so no key has a special meaning.
 */

export type PythonJson = null | boolean | number | string | PythonJson[] | Map<string, PythonJson>;

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const BLANKS = /[ \t\n\r]*/y;
const WORDS: readonly (readonly [string, PythonJson])[] = [
  ['null', null],
  ['true', true],
  ['false', false],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
];

/** The value of a JSON text. Throws a SyntaxError that names the offset. */
export function parsePythonJson(text: string): PythonJson {
  const reader = new Reader(text);
  const value = reader.value();
  reader.end();
  return value;
}

/** Guards the position in the text. */
class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(): PythonJson {
    this.#blanks();
    const word = WORDS.find(([spelling]) => this.#text.startsWith(spelling, this.#at));
    if (word !== undefined) {
      this.#at += word[0].length;
      return word[1];
    }
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object();
      case '[':
        return this.#list();
      case '"':
        return this.#string();
      default:
        return this.#number();
    }
  }

  end(): void {
    this.#blanks();
    if (this.#at !== this.#text.length) {
      this.#fail('extra data');
    }
  }

  #object(): Map<string, PythonJson> {
    const members = new Map<string, PythonJson>();
    this.#at += 1;
    if (this.#takes('}')) {
      return members;
    }
    do {
      this.#blanks();
      if (this.#text[this.#at] !== '"') {
        this.#fail('a key was expected');
      }
      const key = this.#string();
      if (!this.#takes(':')) {
        this.#fail("':' was expected");
      }
      members.set(key, this.value());
    } while (this.#takes(','));
    if (!this.#takes('}')) {
      this.#fail("',' or '}' was expected");
    }
    return members;
  }

  #list(): PythonJson[] {
    const items: PythonJson[] = [];
    this.#at += 1;
    if (this.#takes(']')) {
      return items;
    }
    do {
      items.push(this.value());
    } while (this.#takes(','));
    if (!this.#takes(']')) {
      this.#fail("',' or ']' was expected");
    }
    return items;
  }

  #string(): string {
    let end = this.#at + 1;
    while (this.#text[end] !== '"') {
      if (end >= this.#text.length) {
        this.#fail('a string is not closed');
      }
      end += this.#text[end] === '\\' ? 2 : 1;
    }
    try {
      // Strings are the same in both languages.
      const parsed: unknown = JSON.parse(this.#text.slice(this.#at, end + 1));
      this.#at = end + 1;
      return String(parsed);
    } catch {
      return this.#fail('a string is not valid');
    }
  }

  #number(): number {
    NUMBER.lastIndex = this.#at;
    const found = NUMBER.exec(this.#text);
    if (found === null) {
      return this.#fail('a value was expected');
    }
    this.#at = NUMBER.lastIndex;
    return Number(found[0]);
  }

  #takes(character: string): boolean {
    this.#blanks();
    if (this.#text[this.#at] !== character) {
      return false;
    }
    this.#at += 1;
    return true;
  }

  #blanks(): void {
    BLANKS.lastIndex = this.#at;
    BLANKS.exec(this.#text);
    this.#at = BLANKS.lastIndex;
  }

  #fail(problem: string): never {
    throw new SyntaxError(`${problem} at offset ${this.#at}`);
  }
}
