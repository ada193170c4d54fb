/** An inode as its statements read it: the columns, and what they mean. */

import type { ArchiveKey, ContentId, InodeNumber } from "../domain/ids.js";
import type { FileTime } from "../domain/time.js";
import type { ContentPhase, InodeRecord } from "../vfs/catalog-port.js";
import type { VaultTable } from "./vault-table.js";

/** Of an inode `i`, left-joined with its content `c`. Rows are arrays: naming so many columns costs more than reading them. */
export const inodeColumns: readonly string[] = [
  ...["i.ino", "i.vault_id", "i.mode", "i.nlink", "i.uid", "i.gid", "i.rdev", "i.size_bytes"],
  ...["i.atime_s", "i.atime_ns", "i.mtime_s", "i.mtime_ns", "i.ctime_s", "i.ctime_ns", "i.parent"],
  ...["i.content_id", "c.version", "c.phase", "c.archive_key", "c.interrupted"],
];
export const inodeJoined = "inode i LEFT JOIN content c ON c.id = i.content_id";

export type Cell = number | string | null;
/** The cells of `inodeColumns`, and others perhaps. */
export type Cells = readonly Cell[];

/** @param at Where the inode's cells begin. */
export function inodeRecord(cells: Cells, at: number, vaults: VaultTable): InodeRecord {
  const number = (column: number) => cells[at + column] as number;
  const time = (column: number): FileTime => ({ seconds: number(column), nanoseconds: number(column + 1) });
  const vaultId = cells[at + 1] as number | null;
  const contentId = cells[at + 15] as ContentId | null;
  return {
    ino: number(0) as InodeNumber,
    vault: vaultId === null ? null : vaults.nameOf(vaultId),
    mode: number(2),
    nlink: number(3),
    uid: number(4),
    gid: number(5),
    rdev: number(6),
    sizeBytes: number(7),
    atime: time(8),
    mtime: time(10),
    ctime: time(12),
    parent: cells[at + 14] as InodeNumber | null,
    content:
      contentId === null
        ? null
        : {
            id: contentId,
            version: number(16),
            phase: cells[at + 17] as ContentPhase,
            archive: cells[at + 18] as ArchiveKey | null,
            interrupted: cells[at + 19] === 1,
          },
  };
}
