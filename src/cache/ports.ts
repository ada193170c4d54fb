/** What the content cache needs besides the disk: an index that survives a restart. */

import type { ByteRange } from "../domain/bytes.js";
import type { ArchiveKey } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";
import type { TreeHashHex } from "../protocol/service.js";

/** One content in the cache, or a pin that waits for its content. */
export interface CachedRow {
  readonly key: ArchiveKey;
  /** 0 for a pin whose content is not here: there is no empty archive. */
  readonly sizeBytes: number;
  readonly lastUsedAt: Instant;
  readonly pinned: boolean;
  /** When the bytes came: landed or adopted. */
  readonly landedAt: Instant;
  /** Always true for an adopted content: only a recall was paid for and waits to be read. */
  readonly readSinceLanding: boolean;
}

/** Promises resolve when the change is committed: it then survives kill -9. */
export interface CacheIndex {
  /** All rows; asked once, at start. */
  load(): readonly CachedRow[];
  /** Inserts or replaces the row of `row.key`. */
  put(row: CachedRow): Promise<void>;
  /** Removing an absent row is fine. */
  remove(key: ArchiveKey): Promise<void>;
  /** Uses, collected over some seconds; rows that are gone by now are passed over. */
  touch(uses: readonly Pick<CachedRow, "key" | "lastUsedAt" | "readSinceLanding">[]): Promise<void>;
  /** All that was committed so far, the archive of an adopted content included, survives power loss. */
  flush(): Promise<void>;
}

/** A part of an archive that was verified alone. */
export interface PartialPiece extends ByteRange {
  readonly treeHash: TreeHashHex;
}

/** An archive of which only pieces are in the cache. */
export interface PartialRow {
  readonly key: ArchiveKey;
  /** Of the archive. */
  readonly sizeBytes: number;
  readonly lastUsedAt: Instant;
  /** When the last piece came. */
  readonly landedAt: Instant;
  readonly readSinceLanding: boolean;
  /** Apart and in order. */
  readonly pieces: readonly PartialPiece[];
}

/** As `CacheIndex`, for archives that are not whole. */
export interface PartialIndex {
  load(): readonly PartialRow[];
  /** Inserts the row without its pieces, or replaces it, and adds one piece. */
  addPiece(row: Omit<PartialRow, "pieces">, piece: PartialPiece): Promise<void>;
  /** Pieces within `range` are not here any more. */
  removePieces(key: ArchiveKey, range: ByteRange): Promise<void>;
  remove(key: ArchiveKey): Promise<void>;
  touch(uses: readonly Pick<PartialRow, "key" | "lastUsedAt" | "readSinceLanding">[]): Promise<void>;
}
