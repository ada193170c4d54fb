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
  await forgetHoles(parts);
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
    if (!parts.staging.isWhole(content.id)) return recoverSpilled(parts, content, sizeBytes ?? 0);
    return sealInterrupted(parts, content, sizeBytes ?? 0, lostByPower);
  }
  const isWhole = sizeBytes === content.sizeBytes;
  if (content.interrupted || (isWhole && !lostByPower)) return;
  const path = catalog.pathInVault(content.ino).join("/");
  if (!isWhole) return keepAside(parts, content, sizeBytes ?? 0, `Not all staged bytes of ${path} are there`);
  if (!parts.staging.isWhole(content.id)) {
    // Its close() has not returned before all of it was on a disk, here or there.
    return keepAside(parts, content, content.sizeBytes, `The machine restarted before ${path} was archived`);
  }
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
    // What was sent before the end was known is sent anew, with the description that the file has now.
    catalog.restartUpload(content.id);
    catalog.updateInode(content.ino, { sizeBytes });
    catalog.updateContent(content.id, { phase: "sealed", sizeBytes, recovered: true, interrupted: !isPromised });
  });
  if (!isPromised) warn(parts, `${why}: it is kept as it is and not uploaded by itself`);
}

/**
 * Parts of it are only in the service, in an upload that lives for a day. Where fsync() or another writer's close() has
 * promised bytes of it, it is completed as it is, by the journal and List Parts; what it replaces stays. Otherwise the
 * upload is aborted, as nothing was promised and an archive would be billed; what is left here is kept.
 */
async function recoverSpilled(parts: StagingRecoveryParts, content: StoredContent, sizeBytes: number): Promise<void> {
  const { catalog, staging, bootId } = parts;
  for (const range of catalog.streams.droppedRanges(content.id)) {
    await staging.drop(content.id, range).catch((error: unknown) => warn(parts, describeError(error)));
  }
  const hadPowerLoss = content.bootId !== bootId;
  const isPromised = content.durable || (content.flushed && !hadPowerLoss);
  const hasPromised = isPromised && content.sizeBytes > 0 && sizeBytes >= content.sizeBytes;
  const why = `${catalog.pathInVault(content.ino).join("/")} was being written to the vault when casfs ended`;
  if (!hasPromised) return keepAside(parts, content, sizeBytes, why);
  // After a power loss only what was synced is known to be what was written.
  const end = hadPowerLoss ? content.sizeBytes : sizeBytes;
  if (end < sizeBytes) await cutStaged(staging, content.id, end);
  await catalog.mutate(() => {
    catalog.updateInode(content.ino, { sizeBytes: end });
    catalog.updateContent(content.id, { phase: "sealed", sizeBytes: end, recovered: true });
  });
  if (!content.flushed) warn(parts, `${why}: it is archived with the ${end} bytes that it has`);
}

async function cutStaged(staging: StagingDirectory, content: ContentId, sizeBytes: number): Promise<void> {
  const file = await staging.open(content);
  try {
    await file.truncate(sizeBytes);
  } finally {
    await file.close();
  }
}

// A file is what it was before; what was written of it gets a name of its own, for a person to judge.
async function keepAside(
  parts: StagingRecoveryParts,
  content: StoredContent,
  sizeBytes: number,
  why: string,
): Promise<void> {
  const { catalog } = parts;
  const kept = await catalog.mutate(() => catalog.interrupted.keep(content.id, sizeBytes));
  warn(parts, `${why}: ${kept}`);
}

// Nothing was written. A truncation that was promised stays; a rewrite that only began is undone.
async function emptyFile({ catalog }: StagingRecoveryParts, content: StoredContent): Promise<void> {
  await catalog.mutate(() => {
    if (!content.flushed && catalog.interrupted.revert(content.id)) return;
    catalog.updateInode(content.ino, { sizeBytes: 0, content: null });
    for (const one of catalog.contentsOf(content.ino)) catalog.removeContent(one.id);
  });
}

async function recoverFile(
  { catalog, staging, cache, observer }: StagingRecoveryParts,
  content: ContentId,
): Promise<void> {
  const stored = catalog.contents.find(content);
  // Archived, but with holes: nobody's copy.
  if (stored?.archive != null && !staging.isWhole(content)) await staging.remove(content);
  else if (stored?.archive != null) {
    // The archive is confirmed: without this copy the file is cold, and not lost.
    await cache.adopt(content, stored.archive, stored.sizeBytes).catch((error: unknown) => {
      observer({ type: "warning", message: `Cannot keep a copy of content ${content}: ${describeError(error)}` });
    });
  }
  // Its content was removed by a commit; only the file was left.
  else if (stored === undefined) await staging.remove(content);
}

/** Of staging files that are gone, because their contents are archived. */
async function forgetHoles({ catalog }: StagingRecoveryParts): Promise<void> {
  for (const { content } of catalog.streams.allDroppedRanges()) {
    if (catalog.contents.find(content)?.archive == null) continue;
    await catalog.mutate(() => catalog.streams.forgetDropped(content));
  }
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
