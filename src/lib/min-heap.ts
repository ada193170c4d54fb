/** A priority queue: the smallest item is at hand, adding and taking cost the logarithm of the number of items. */
export class MinHeap<T> {
  readonly #items: T[] = [];
  readonly #rank: (item: T) => number;

  /** `rank` of an item must not change while it is in the heap. */
  constructor(rank: (item: T) => number) {
    this.#rank = rank;
  }

  get size(): number {
    return this.#items.length;
  }

  peek(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    let hole = this.#items.push(item) - 1;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if (this.#rank(this.#items[parent]!) <= this.#rank(item)) break;
      this.#items[hole] = this.#items[parent]!;
      hole = parent;
    }
    this.#items[hole] = item;
  }

  pop(): T | undefined {
    const top = this.#items[0];
    const last = this.#items.pop();
    if (last !== undefined && this.#items.length > 0) this.#sink(last);
    return top;
  }

  clear(): void {
    this.#items.length = 0;
  }

  /** Puts `item` in the place of the top, and moves it down to where it belongs. */
  #sink(item: T): void {
    let hole = 0;
    for (;;) {
      const child = this.#smallerChild(hole);
      if (child === undefined || this.#rank(this.#items[child]!) >= this.#rank(item)) break;
      this.#items[hole] = this.#items[child]!;
      hole = child;
    }
    this.#items[hole] = item;
  }

  #smallerChild(parent: number): number | undefined {
    const left = 2 * parent + 1;
    if (left >= this.#items.length) return undefined;
    const right = left + 1;
    return right < this.#items.length && this.#rank(this.#items[right]!) < this.#rank(this.#items[left]!)
      ? right
      : left;
  }
}
