/** Who is reading which body: the files of a body that was released stay until its last reader has ended. */

export class BodyReaders {
  readonly #readers = new Map<number, number>();
  readonly #removeLater = new Map<number, readonly number[]>();
  readonly #remove: (fileIds: readonly number[]) => void;

  /** @param remove Removes files that nobody needs any more. */
  constructor(remove: (fileIds: readonly number[]) => void) {
    this.#remove = remove;
  }

  begin(bodyKey: number): void {
    this.#readers.set(bodyKey, (this.#readers.get(bodyKey) ?? 0) + 1);
  }

  end(bodyKey: number): void {
    const others = (this.#readers.get(bodyKey) ?? 1) - 1;
    if (others > 0) {
      this.#readers.set(bodyKey, others);
      return;
    }
    this.#readers.delete(bodyKey);
    this.#remove(this.#removeLater.get(bodyKey) ?? []);
    this.#removeLater.delete(bodyKey);
  }

  /** The files of a body that no row refers to any more: removed now, or when the last reader ends. */
  released(bodyKey: number, fileIds: readonly number[]): void {
    if (this.#readers.has(bodyKey)) this.#removeLater.set(bodyKey, fileIds);
    else this.#remove(fileIds);
  }
}
