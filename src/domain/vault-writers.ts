/**
 * Who writes to a vault: one state directory at a time.
 *
 * Two of them do not know of each other's deletes, renames and versions, and would delete what the other still needs.
 * Each puts its writer id into the descriptions of its archives, so that an inventory tells of the other.
 */

import { FileSystemError } from "./errors.js";
import type { ArchiveId, VaultName } from "./ids.js";
import type { Instant } from "./time.js";

/** Another state directory that writes to the same vault, as an inventory has shown it. */
export interface OtherWriter {
  /** `w` in the descriptions of its archives. */
  readonly id: string;
  /** Its newest archive, and when the service made that. */
  readonly archiveId: ArchiveId;
  readonly createdAt: Instant;
}

/** Why nothing is written to a vault, uploaded to it or deleted in it. */
export function writtenByAnother(vault: VaultName, own: string, other: OtherWriter): FileSystemError {
  const since = new Date(other.createdAt).toISOString();
  return new FileSystemError(
    "read-only",
    `Vault ${vault} is read-only: another state directory (writer ${other.id}) uploaded to it on ${since}; ` +
      `this one is writer ${own}. Stop the other one, then run \`casfs vault take-over ${vault}\``,
  );
}
