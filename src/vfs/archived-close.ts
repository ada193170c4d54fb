/**
 * Waits for the vault on behalf of a program: close() with `--commit archived`.
 *
 * A failure that passes by itself is borne for as long as a writer waits for room (`--stall-timeout`); then, and for
 * any other failure at once, close() says so. The content stays staged and its upload goes on being tried.
 */

import { CancelledError, describeError, type ErrorKind, FileSystemError, ServiceError } from "../domain/errors.js";
import type { ContentId, InodeNumber } from "../domain/ids.js";
import type { Milliseconds } from "../domain/time.js";
import type { CatalogPort } from "./catalog-port.js";
import type { UploadRequests } from "./ports.js";

interface Patience {
  readonly signal: AbortSignal;
  readonly patienceMs: Milliseconds;
}

/**
 * Resolves when the newest content of a file that is closed is archived: also what another close() of the same file
 * has sealed meanwhile. At once for a file without a name, an empty one, and one that waits for a person.
 *
 * @throws FileSystemError with what the upload failed with, and the signal's reason.
 */
export async function archiveNewest(
  { catalog, uploads }: { readonly catalog: CatalogPort; readonly uploads: UploadRequests },
  ino: InodeNumber,
  patience: Patience,
): Promise<void> {
  let awaited: ContentId | undefined;
  for (;;) {
    const { content = null, nlink = 0 } = catalog.inode(ino) ?? {};
    if (nlink === 0 || content?.interrupted || (content?.phase !== "sealed" && content?.phase !== "claimed")) return;
    uploads.expedite(content.id);
    try {
      return await uploads.whenArchived(content.id, patience);
    } catch (error) {
      patience.signal.throwIfAborted();
      // Written again while it was waited for: what counts is the newest. Twice the same is an end of the mount.
      if (!(error instanceof CancelledError)) throw notArchived(ino, catalog, error);
      if (awaited === content.id) throw error;
      awaited = content.id;
    }
  }
}

function notArchived(ino: InodeNumber, catalog: CatalogPort, error: unknown): FileSystemError {
  const path = catalog.pathInVault(ino).join("/");
  return new FileSystemError(kindOf(error), `${path} is not archived yet: ${describeError(error)}`, {
    cause: error,
    hint: "It is kept here and will be tried again: see `casfs status`",
  });
}

/** What a program understands at its close(): not ENOENT for a vault that is missing, nor EINVAL. */
function kindOf(error: unknown): ErrorKind {
  if (error instanceof ServiceError) return error.fault === "denied" ? "access-denied" : "unavailable";
  return error instanceof FileSystemError && error.kind === "read-only" ? "read-only" : "unavailable";
}
