/**
 * Multipart uploads of the local service (cas-api section 10).
 *
 * Every part is a file of the upload's body. Complete checks the list of parts and hands the body over to the new
 * archive: no byte is read or copied, whatever the size.
 */

import { byteRange } from "../../domain/bytes.js";
import type { ArchiveId } from "../../domain/ids.js";
import { invariant } from "../../lib/invariant.js";
import { invalidParameter, WireError } from "../../protocol/error-wire.js";
import { completedUploadMemoryMs, partCountMax, uploadIdLength } from "../../protocol/limits.js";
import type { NewUpload, PartUpload, UploadCompletion } from "../../protocol/multipart-wire.js";
import type { TreeHashHex } from "../../protocol/service.js";
import { treeHashOfLeaves } from "../../protocol/tree-hash.js";
import type { ByteSource } from "../bytes/body-sink.js";
import { checkDigest } from "../bytes/digest-check.js";
import { type ArchiveStore, notFound } from "./archive-store.js";
import type { BodyFileRow } from "./body-table.js";
import type { Place } from "./page-place.js";
import type { UploadRow } from "./upload-table.js";
import type { VaultRow } from "./vault-table.js";

/** An upload that takes parts. */
export type OpenUpload = UploadRow & { readonly body_key: number };

export interface MultipartOptions {
  /** How long an upload lives after its last activity (10.7). */
  readonly lifetimeMs: number;
  /** Takes part sizes of any number of MiB, not only powers of two (cas-api section 16, row 2). */
  readonly lenientPartSize?: boolean | undefined;
}

/** The archive that an upload has become. */
export interface CompletedUpload {
  readonly archiveId: ArchiveId;
  readonly treeHash: TreeHashHex;
}

const expiryPauseMs = 1000;

export class MultipartStore {
  readonly lenientPartSize: boolean;
  readonly #store: ArchiveStore;
  readonly #lifetimeMs: number;
  /** How many parts each upload is receiving; such an upload is active and does not expire. */
  readonly #receiving = new Map<number, number>();

  constructor(store: ArchiveStore, { lifetimeMs, lenientPartSize = false }: MultipartOptions) {
    this.#store = store;
    this.#lifetimeMs = lifetimeMs;
    this.lenientPartSize = lenientPartSize;
  }

  initiate(vault: VaultRow, { partSizeBytes, description }: NewUpload): string {
    const id = this.#store.newId(uploadIdLength);
    const now = this.#store.now();
    this.#store.transaction(() => {
      this.#store.uploads.insert({
        vault_key: vault.vault_key,
        upload_id: id,
        part_size_bytes: partSizeBytes,
        description,
        created_at_ms: now,
        active_at_ms: now,
        body_key: this.#store.bodies.create({ held: true }),
      });
    });
    return id;
  }

  /** @throws WireError ResourceNotFoundException for an unknown, ended or expired upload. */
  open(vault: VaultRow, uploadId: string): OpenUpload {
    const upload = this.#store.uploads.find(vault.vault_key, uploadId);
    if (upload === undefined || !this.#isAlive(upload)) throw notFound(`Multipart upload not found: ${uploadId}`);
    return upload as OpenUpload;
  }

  /** Receives one part; a part that was there before is replaced (10.2). */
  async putPart(vault: VaultRow, upload: OpenUpload, part: PartUpload, source: ByteSource): Promise<void> {
    this.#countReceiving(upload.upload_key, 1);
    try {
      const file = await this.#store.receive(source);
      try {
        checkDigest(part, file.digest);
      } catch (error) {
        await file.discard();
        throw error;
      }
      const replaced = await this.#store.publishing(file, () => {
        // It may have been completed or aborted while the part was on its way.
        const current = this.open(vault, upload.upload_id);
        this.#store.uploads.touch(current.upload_key, this.#store.now());
        return this.#store.addFile(current.body_key, part.range.start, file);
      });
      if (replaced !== undefined) this.#store.removeFiles([replaced]);
    } finally {
      this.#countReceiving(upload.upload_key, -1);
    }
  }

  /**
   * Makes the archive; repeating it gives the same one for an hour (10.3).
   *
   * @throws WireError when the parts do not make up what the client says; the upload is then as it was.
   */
  complete(vault: VaultRow, uploadId: string, completion: UploadCompletion): CompletedUpload {
    return this.#store.transaction(() => {
      const done = this.#store.uploads.find(vault.vault_key, uploadId);
      if (done?.archive_id != null && this.#isRemembered(done)) {
        return this.#completedBefore(vault, done.archive_id, completion);
      }
      const upload = this.open(vault, uploadId);
      const treeHash = this.#checkedTreeHash(upload, completion);
      const archiveId = this.#store.insertArchive(vault.vault_key, {
        description: upload.description,
        size_bytes: completion.sizeBytes,
        tree_hash: Buffer.from(treeHash, "hex"),
        body_key: upload.body_key,
      }) as ArchiveId;
      this.#store.uploads.end(upload.upload_key, { atMs: this.#store.now(), archiveId });
      return { archiveId, treeHash };
    });
  }

  /** Aborting an aborted upload again is fine for an hour (10.6). */
  abort(vault: VaultRow, uploadId: string): void {
    this.#store.releasing(() => {
      const ended = this.#store.uploads.find(vault.vault_key, uploadId);
      if (ended?.ended_at_ms != null && ended.archive_id === null && this.#isRemembered(ended)) return [];
      const upload = this.open(vault, uploadId);
      this.#store.uploads.end(upload.upload_key, { atMs: this.#store.now(), archiveId: null });
      this.#store.bodies.letGo(upload.body_key);
      return [upload.body_key];
    });
  }

  /** Parts from the one at byte `start` on, in order. */
  parts(upload: OpenUpload, options: { readonly start: number; readonly limit: number }): BodyFileRow[] {
    return this.#store.bodies.filesFrom(upload.body_key, options);
  }

  /** Open uploads from the given one on, by (creation, id). */
  list(vault: VaultRow, from: Place, limit: number): UploadRow[] {
    this.expire();
    return this.#store.uploads.listOpen(vault.vault_key, from, limit);
  }

  /**
   * Forgets idle uploads with their parts, and ended ones that need not be remembered any longer.
   *
   * @returns when the next expires, or may: what begins or ends from now on is due later.
   */
  expire(): number {
    const now = this.#store.now();
    const idle = this.#store.uploads.idleSince(now - this.#lifetimeMs).filter((upload) => !this.#isAlive(upload));
    if (idle.length > 0) {
      this.#store.releasing(() =>
        idle.map((upload) => {
          this.#store.uploads.delete(upload.upload_key);
          if (upload.body_key !== null) this.#store.bodies.letGo(upload.body_key);
          return upload.body_key;
        }),
      );
    }
    this.#store.uploads.forgetEndedUntil(now - completedUploadMemoryMs);
    const oldest = this.#store.uploads.oldestActivity() ?? now;
    // An upload that is receiving a part is alive, however old; it is looked at again after a while.
    return Math.min(now + completedUploadMemoryMs, Math.max(oldest + this.#lifetimeMs, now + expiryPauseMs));
  }

  /** A repetition that speaks of other bytes is none: its client must not believe that these are stored. */
  #completedBefore(vault: VaultRow, archiveId: string, completion: UploadCompletion): CompletedUpload {
    const archive = this.#store.archives.find(vault.vault_key, archiveId);
    invariant(archive !== undefined, "rows of archives outlive their deletion");
    const treeHash = archive.tree_hash.toString("hex") as TreeHashHex;
    if (completion.sizeBytes !== archive.size_bytes) {
      throw invalidParameter(`The archive has ${archive.size_bytes} bytes, x-cas-archive-size says otherwise`);
    }
    if (completion.treeHash !== treeHash && completion.treeHash !== this.#combinedHash(archive.body_key)) {
      throw differentTreeHash();
    }
    return { archiveId: archiveId as ArchiveId, treeHash };
  }

  /** The true tree hash of the parts, which must be contiguous and of the size and hash that the client claims. */
  #checkedTreeHash(upload: OpenUpload, { sizeBytes, treeHash }: UploadCompletion): TreeHashHex {
    const parts = this.#store.bodies.filesFrom(upload.body_key, { start: 0, limit: partCountMax });
    const partsBytes = checkContiguous(parts, upload.part_size_bytes);
    if (partsBytes !== sizeBytes) {
      throw invalidParameter(`The parts have ${partsBytes} bytes, x-cas-archive-size says ${sizeBytes}`);
    }
    const trueHash = this.#store.currentTreeHash(upload.body_key, byteRange(0, sizeBytes), sizeBytes);
    invariant(trueHash !== null, "the whole is a subtree of itself");
    // The official command line takes part sizes that make its own combination of the parts wrong (16, row 2).
    if (treeHash !== trueHash && treeHash !== this.#combinedHash(upload.body_key)) throw differentTreeHash();
    return trueHash;
  }

  /** The tree hash as if every part were a subtree; undefined when that must not be accepted. */
  #combinedHash(bodyKey: number | null): TreeHashHex | undefined {
    if (!this.lenientPartSize || bodyKey === null) return undefined;
    const parts = this.#store.bodies.filesFrom(bodyKey, { start: 0, limit: partCountMax });
    return treeHashOfLeaves(parts.map((part) => part.tree_hash));
  }

  #isAlive(upload: UploadRow): boolean {
    if (upload.ended_at_ms !== null) return false;
    return this.#receiving.has(upload.upload_key) || upload.active_at_ms + this.#lifetimeMs > this.#store.now();
  }

  #isRemembered(upload: UploadRow): boolean {
    return upload.ended_at_ms !== null && upload.ended_at_ms + completedUploadMemoryMs > this.#store.now();
  }

  #countReceiving(uploadKey: number, change: 1 | -1): void {
    const count = (this.#receiving.get(uploadKey) ?? 0) + change;
    if (count > 0) this.#receiving.set(uploadKey, count);
    else this.#receiving.delete(uploadKey);
  }
}

/** The bytes of all parts. @throws WireError when one is missing, or short without being the last. */
function checkContiguous(parts: readonly BodyFileRow[], partSizeBytes: number): number {
  if (parts.length === 0) throw invalidParameter("The upload has no parts");
  let end = 0;
  for (const [index, part] of parts.entries()) {
    if (part.start !== end) throw invalidParameter(`The part at byte ${end} is missing`);
    if (index < parts.length - 1 && part.size_bytes !== partSizeBytes) {
      throw invalidParameter(`The part at byte ${end} is short and not the last`);
    }
    end += part.size_bytes;
  }
  return end;
}

function differentTreeHash(): WireError {
  return new WireError("InvalidDigest", "The tree hash of the parts differs from x-cas-sha256-tree-hash");
}

/** The half-open range of a part. */
export function rangeOfFile(file: BodyFileRow) {
  return byteRange(file.start, file.start + file.size_bytes);
}
