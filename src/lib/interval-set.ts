/** A set of whole numbers, kept as disjoint half-open intervals in ascending order. Pure. */

export interface Interval {
  readonly start: number;
  /** Not included. */
  readonly end: number;
}

export class IntervalSet implements Iterable<Interval> {
  readonly #intervals: Interval[] = [];
  readonly #countMax: number;

  /** @param countMax With so many intervals, one that touches none of them is left out: the set is then too small. */
  constructor(intervals: Iterable<Interval> = [], { countMax = Number.POSITIVE_INFINITY } = {}) {
    this.#countMax = countMax;
    for (const interval of intervals) this.add(interval);
  }

  /** The number of intervals. */
  get count(): number {
    return this.#intervals.length;
  }

  add({ start, end }: Interval): void {
    if (end <= start) return;
    const first = this.#firstEndingFrom(start);
    let after = first;
    let merged: Interval = { start, end };
    for (let next = this.#intervals[after]; next !== undefined && next.start <= end; next = this.#intervals[after]) {
      merged = { start: Math.min(merged.start, next.start), end: Math.max(merged.end, next.end) };
      after += 1;
    }
    if (after === first && this.#intervals.length >= this.#countMax) return;
    if (after === first + 1) this.#intervals[first] = merged;
    else this.#intervals.splice(first, after - first, merged);
  }

  /** Leaves nothing between `start` and `end`. */
  remove({ start, end }: Interval): void {
    if (end <= start) return;
    const first = this.#firstEndingFrom(start + 1);
    let after = first;
    const rest: Interval[] = [];
    for (let next = this.#intervals[after]; next !== undefined && next.start < end; next = this.#intervals[after]) {
      if (next.start < start) rest.push({ start: next.start, end: start });
      if (next.end > end) rest.push({ start: end, end: next.end });
      after += 1;
    }
    this.#intervals.splice(first, after - first, ...rest);
  }

  /** Leaves nothing from `end` on. */
  cut(end: number): void {
    const first = this.#firstEndingFrom(end);
    const last = this.#intervals[first];
    if (last === undefined) return;
    this.#intervals.length = first;
    if (last.start < end) this.#intervals.push({ start: last.start, end });
  }

  /** Whether all of `interval` is in the set. */
  has({ start, end }: Interval): boolean {
    if (end <= start) return true;
    const found = this.#intervals[this.#firstEndingFrom(start + 1)];
    return found !== undefined && found.start <= start && end <= found.end;
  }

  /** Whether any of `interval` is in the set. */
  touches({ start, end }: Interval): boolean {
    if (end <= start) return false;
    const found = this.#intervals[this.#firstEndingFrom(start + 1)];
    return found !== undefined && found.start < end;
  }

  [Symbol.iterator](): Iterator<Interval> {
    return this.#intervals[Symbol.iterator]();
  }

  /** Position of the first interval that ends at `position` or behind it. */
  #firstEndingFrom(position: number): number {
    const { length } = this.#intervals;
    // Who writes from the front to the end always meets the last one.
    if (length === 0 || this.#intervals[length - 1]!.end < position) return length;
    let low = 0;
    let high = length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#intervals[middle]!.end < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
