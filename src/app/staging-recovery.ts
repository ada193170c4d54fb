/**
 * At start: the staging directory against the catalog. What close() promised becomes a sealed content; what was only
 * begun is kept and marked; nothing that the catalog knows is removed.
 */

import type { ContentCache } from "../cache/content-cache.js";
import type { StagingDirectory } from "../cache/staging-area.js";
import type { Catalog } from "../catalog/catalog.js";
import type { StoredContent } from "../catalog/content-table.js";
import { describeError, FileSystemError, UsageError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ContentId } from "../domain/ids.js";

export interface StagingRecoveryParts {
  readonly catalog: Catalog;
  readonly staging: StagingDirectory;
  readonly cache: ContentCache;
  readonly bootId: string;
  readonly observer: Observer;
  readonly stagingPath: string;
}

/** @throws UsageError when staging holds files of another, lost catalog: new files would get their numbers. */
export async function recoverStaging(parts: StagingRecoveryParts): Promise<void> {
  const staged = await parts.staging.list();
  if (parts.catalog.isNew && staged.length > 0) {
    throw new UsageError(`Cannot start with an empty catalog: ${staged.length} files wait in ${parts.stagingPath}`, {
      hint: "They may be the only copies: move them to a safe place, or restore the catalog that belongs to them",
    });
  }
  for (const content of parts.catalog.contents.unarchived()) await recoverContent(parts, content);
  for (const content of staged) await recoverFile(parts, content);
}

async function recoverContent(parts: StagingRecoveryParts, content: StoredContent): Promise<void> {
  const { catalog } = parts;
  const newest = catalog.inode(content.ino)?.content?.id === content.id;
  const sizeBytes = await stagedSize(parts.staging, content.id);
  const lostByPower = content.bootId !== parts.bootId && !content.durable;
  if (content.phase === "writing") {
    // A copy that was never finished: the version it was made from is still the newest.
    if (!newest) return catalog.mutate(() => catalog.removeContent(content.id));
    const isEmpty = (sizeBytes ?? 0) === 0 && content.sizeBytes === 0;
    if (isEmpty && !lostByPower) return emptyFile(parts, content);
    // Nothing was ever promised of it: an empty file that can be opened, not a name that answers with an error.
    if (isEmpty && sizeBytes === undefined) await (await parts.staging.create(content.id)).close();
    return sealInterrupted(parts, content, sizeBytes ?? 0, lostByPower);
  }
  const isWhole = sizeBytes === content.sizeBytes;
  if (content.interrupted || (isWhole && !lostByPower)) return;
  const path = catalog.pathInVault(content.ino).join("/");
  if (!isWhole) return keepAside(parts, content, sizeBytes ?? 0, `Not all staged bytes of ${path} are there`);
  await catalog.mutate(() => catalog.updateContent(content.id, { interrupted: true }));
  warn(
    parts,
    `The staged bytes of ${path} are kept and not uploaded: the machine restarted before they were on the disk`,
  );
}

// Bytes that are fewer than FLUSH has promised, or that a power loss may have taken, are not sent in the place of good
// ones. Nor are more: a shell closes a copy of the descriptor before its command writes, and the command was cut off.
async function sealInterrupted(
  parts: StagingRecoveryParts,
  content: StoredContent,
  sizeBytes: number,
  lostByPower: boolean,
): Promise<void> {
  const { catalog } = parts;
  const isPromised = content.flushed && !lostByPower && sizeBytes === content.sizeBytes && sizeBytes > 0;
  // An earlier close() or fsync() has promised bytes of it: it keeps its name, whatever was written since.
  const hasPromised = (content.flushed || content.durable) && content.sizeBytes > 0 && sizeBytes >= content.sizeBytes;
  const why = `${catalog.pathInVault(content.ino).join("/")} was being written when casfs ended`;
  if (!isPromised && (lostByPower || !hasPromised)) return keepAside(parts, content, sizeBytes, why);
  await catalog.mutate(() => {
    catalog.updateInode(content.ino, { sizeBytes });
    catalog.updateContent(content.id, { phase: "sealed", sizeBytes, recovered: true, interrupted: !isPromised });
  });
  if (!isPromised) warn(parts, `${why}: it is kept as it is and not uploaded by itself`);
}

// A file is what it was before; what was written of it gets a name of its own, for a person to judge.
async function keepAside(
  parts: StagingRecoveryParts,
  content: StoredContent,
  sizeBytes: number,
  why: string,
): Promise<void> {
  const { catalog } = parts;
  const kept = await catalog.mutate(() => {
    if (sizeBytes === 0 && catalog.revert(content.id)) return "nothing of it is left, so it is what it was before";
    const isNewest = catalog.inode(content.ino)?.content?.id === content.id;
    // An upload that had begun was of other bytes.
    catalog.uploads.abandon(content.id);
    catalog.updateContent(content.id, { phase: "sealed", sizeBytes, interrupted: true });
    const name = catalog.setAside(content.id);
    if (name !== undefined) return `it is what it was before, and what was written is ${name}, not uploaded by itself`;
    if (isNewest) catalog.updateInode(content.ino, { sizeBytes });
    return "it is kept as it is and not uploaded by itself";
  });
  warn(parts, `${why}: ${kept}`);
}

// Nothing was written. A truncation that was promised stays; a rewrite that only began is undone.
async function emptyFile({ catalog }: StagingRecoveryParts, content: StoredContent): Promise<void> {
  await catalog.mutate(() => {
    if (!content.flushed && catalog.revert(content.id)) return;
    catalog.updateInode(content.ino, { sizeBytes: 0, content: null });
    for (const one of catalog.contentsOf(content.ino)) catalog.removeContent(one.id);
  });
}

async function recoverFile(
  { catalog, staging, cache, observer }: StagingRecoveryParts,
  content: ContentId,
): Promise<void> {
  const stored = catalog.contents.find(content);
  if (stored?.archive != null) {
    // The archive is confirmed: without this copy the file is cold, and not lost.
    await cache.adopt(content, stored.archive, stored.sizeBytes).catch((error: unknown) => {
      observer({ type: "warning", message: `Cannot keep a copy of content ${content}: ${describeError(error)}` });
    });
  }
  // Its content was removed by a commit; only the file was left.
  else if (stored === undefined) await staging.remove(content);
}

async function stagedSize(staging: StagingDirectory, content: ContentId): Promise<number | undefined> {
  try {
    const file = await staging.open(content);
    const { sizeBytes } = file;
    await file.close();
    return sizeBytes;
  } catch (error) {
    if (error instanceof FileSystemError && error.kind === "not-found") return undefined;
    throw error;
  }
}

function warn({ observer }: StagingRecoveryParts, message: string): void {
  observer({ type: "warning", message });
}
