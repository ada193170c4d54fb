/** Tree-hash leaves of one file, some known and some not; 33 bytes of memory for each MiB up to the last known one. */

const leafBytes = 32;

/** A span of whole MiBs of a file, counted in MiBs, half-open. `end` may be infinite. */
export interface LeafSpan {
  readonly first: number;
  readonly end: number;
}

/** Leaves one behind the other; those whose byte in `known` is 0 have to be hashed. */
export interface KnownLeaves {
  readonly leaves: Uint8Array;
  readonly known: Uint8Array;
}

export class LeafStore {
  #leaves = Buffer.alloc(0);
  #known = new Uint8Array(0);
  #count = 0;

  /** How many are known. */
  get count(): number {
    return this.#count;
  }

  put(span: LeafSpan, leaves: Uint8Array): void {
    this.forget(span);
    if (span.end > this.#known.length) this.#grow(span.end);
    this.#leaves.set(leaves.subarray(0, (span.end - span.first) * leafBytes), span.first * leafBytes);
    this.#known.fill(1, span.first, span.end);
    this.#count += span.end - span.first;
  }

  forget(span: LeafSpan): void {
    const end = Math.min(span.end, this.#known.length);
    for (let leaf = span.first; leaf < end; leaf++) this.#count -= this.#known[leaf]!;
    if (span.first < end) this.#known.fill(0, span.first, end);
  }

  has({ first, end }: LeafSpan): boolean {
    return end <= this.#known.length && this.#known.subarray(first, end).every((known) => known === 1);
  }

  /** A copy, which later changes do not change. */
  copy({ first, end }: LeafSpan): KnownLeaves {
    const leaves = Buffer.alloc((end - first) * leafBytes);
    const known = new Uint8Array(end - first);
    leaves.set(this.#leaves.subarray(first * leafBytes, end * leafBytes));
    known.set(this.#known.subarray(first, end));
    return { leaves, known };
  }

  #grow(count: number): void {
    const capacity = Math.max(count, this.#known.length * 2);
    const [leaves, known] = [Buffer.alloc(capacity * leafBytes), new Uint8Array(capacity)];
    leaves.set(this.#leaves);
    known.set(this.#known);
    this.#leaves = leaves;
    this.#known = known;
  }
}
