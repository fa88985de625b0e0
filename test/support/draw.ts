/** Draws from a list of numbers, so that fast-check can shrink what is made of it. */
export class Draw {
  readonly #numbers: readonly number[];
  #at = 0;
  constructor(numbers: readonly number[]) {
    this.#numbers = numbers;
  }
  below(limit: number): number {
    const number = this.#numbers[this.#at % this.#numbers.length] ?? 0;
    this.#at += 1;
    return (number + this.#at) % limit;
  }
  of<T>(list: readonly [T, ...T[]]): T {
    return list[this.below(list.length)] ?? list[0];
  }
}

/** Draws a pipeline, whose ids are counted in document order. */
export class PipelineDraw extends Draw {
  ids = 0;
}
