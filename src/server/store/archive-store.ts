/**
 * Durable vaults and archives of the local service: rows in SQLite, bytes in files.
 *
 * Relies on: between two awaits nothing else runs and transactions do not wait, so check-then-write needs no lock.
 * An archive's body is the list of files in which it arrived; bytes are never copied or read again to store them.
 * Never: answers before `durable()`; the server awaits it for every response. Knows no HTTP.
 */

import { LRUCache } from "lru-cache";
import type { ByteRange } from "../../domain/bytes.js";
import type { VaultName } from "../../domain/ids.js";
import type { Clock, Instant } from "../../domain/time.js";
import { makeDirectoryDurably } from "../../lib/durable-file.js";
import { invariant } from "../../lib/invariant.js";
import { WireError } from "../../protocol/error-wire.js";
import { archiveIdLength, vaultsPerAccountMax } from "../../protocol/limits.js";
import type { TreeHashHex } from "../../protocol/service.js";
import { BodyFiles, type FilePiece, type IncomingFile } from "../bytes/body-files.js";
import { BodyReaders } from "../bytes/body-readers.js";
import type { ByteSource } from "../bytes/body-sink.js";
import { ArchiveTable, type NewArchiveRow } from "./archive-table.js";
import { BodyTable } from "./body-table.js";
import { JobTable } from "./job-table.js";
import { Metadata } from "./metadata.js";
import { NotificationTable } from "./notification-table.js";
import { rangeTreeHash } from "./range-tree-hash.js";
import { UploadTable } from "./upload-table.js";
import { VaultLockTable } from "./vault-lock-table.js";
import { type VaultRow, type VaultSetting, VaultTable } from "./vault-table.js";

export interface ArchiveStoreOptions {
  readonly clock: Clock;
  readonly randomBytes: (count: number) => Buffer;
}

export interface NewArchiveFile {
  readonly file: IncomingFile;
  readonly description: string;
}

const treeHashesRemembered = 10_000;

export class ArchiveStore {
  readonly vaults: VaultTable;
  readonly locks: VaultLockTable;
  readonly archives: ArchiveTable;
  readonly bodies: BodyTable;
  readonly uploads: UploadTable;
  readonly jobs: JobTable;
  readonly notifications: NotificationTable;
  readonly #metadata: Metadata;
  readonly #files: BodyFiles;
  readonly #clock: Clock;
  readonly #randomBytes: (count: number) => Buffer;
  readonly #treeHashes = new LRUCache<string, TreeHashHex>({ max: treeHashesRemembered });
  /** How many archives are on their way to each vault. */
  readonly #arriving = new Map<number, number>();
  readonly #readers = new BodyReaders((fileIds) => this.removeFiles(fileIds));
  #removals: Promise<void> = Promise.resolve();

  private constructor(metadata: Metadata, bodies: BodyTable, files: BodyFiles, options: ArchiveStoreOptions) {
    this.#metadata = metadata;
    this.vaults = new VaultTable(metadata.database);
    this.locks = new VaultLockTable(metadata.database);
    this.archives = new ArchiveTable(metadata.database);
    this.bodies = bodies;
    this.uploads = new UploadTable(metadata.database);
    this.jobs = new JobTable(metadata.database);
    this.notifications = new NotificationTable(metadata.database);
    this.#files = files;
    this.#clock = options.clock;
    this.#randomBytes = options.randomBytes;
  }

  /** @throws FileSystemError "busy" when another process serves `dataDirectory`. */
  static async open(dataDirectory: string, options: ArchiveStoreOptions): Promise<ArchiveStore> {
    await makeDirectoryDurably(dataDirectory);
    const metadata = await Metadata.open(dataDirectory);
    try {
      const bodies = new BodyTable(metadata.database);
      const files = await BodyFiles.open(dataDirectory, {
        highestKnown: bodies.highestFileId(),
        known: (first, last) => bodies.knownFileIds(first, last),
      });
      return new ArchiveStore(metadata, bodies, files, options);
    } catch (error) {
      await metadata.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#removals;
    await this.#metadata.close();
  }

  now(): Instant {
    return this.#clock.now();
  }

  /** An unguessable id of `length` base64url characters, as the service's own (cas-api section 15.9). */
  newId(length: number): string {
    return this.#randomBytes((length * 3) / 4).toString("base64url");
  }

  /** From 0 (included) to 1 (excluded). */
  randomNumber(): number {
    return this.#randomBytes(4).readUInt32BE() / 2 ** 32;
  }

  transaction<T>(work: () => T): T {
    return this.#metadata.transaction(work);
  }

  durable(): Promise<void> {
    return this.#metadata.durable();
  }

  createVault(account: string, name: VaultName): void {
    this.transaction(() => {
      if (this.vaults.find(account, name) !== undefined) return;
      if (this.vaults.count(account) >= vaultsPerAccountMax) {
        throw new WireError("LimitExceededException", `An account has at most ${vaultsPerAccountMax} vaults`);
      }
      this.vaults.insert(account, name, this.now());
    });
  }

  /** @throws WireError ResourceNotFoundException. */
  vault(account: string, name: VaultName): VaultRow {
    const vault = this.vaults.find(account, name);
    if (vault === undefined) throw notFound(`Vault not found: ${name}`);
    return vault;
  }

  /** Within a transaction that follows a wait: the vault may have been deleted, and made again, meanwhile. */
  checkStillThere(vault: VaultRow): void {
    const current = this.vault(vault.account, vault.name as VaultName);
    if (current.vault_key !== vault.vault_key) throw notFound(`Vault not found: ${vault.name}`);
  }

  /** Runs `work`, which receives an archive and stores it: until it ends, the vault is being written to (6.3). */
  async writing<T>({ vault_key: key }: VaultRow, work: () => Promise<T>): Promise<T> {
    this.#arriving.set(key, (this.#arriving.get(key) ?? 0) + 1);
    try {
      return await work();
    } finally {
      const others = (this.#arriving.get(key) ?? 1) - 1;
      if (others > 0) this.#arriving.set(key, others);
      else this.#arriving.delete(key);
    }
  }

  /** Judged on the live state (cas-api section 6.3); takes the vault's jobs with it. */
  deleteVault(vault: VaultRow): void {
    this.releasing(() => {
      const { vault_key: key, archive_count: archives } = this.vault(vault.account, vault.name as VaultName);
      if (archives > 0 || this.#arriving.has(key) || this.uploads.countOpen(key) > 0) {
        throw new WireError("BadRequest", "vault is not empty, only empty vault can be delete");
      }
      const bodies = this.jobs.ofVault(key).map((job) => {
        this.jobs.delete(job.job_key);
        return job.body_key;
      });
      this.uploads.deleteOfVault(key);
      this.archives.deleteOfVault(key);
      this.vaults.delete(key);
      return bodies;
    });
  }

  setVaultOption(vault: VaultRow, setting: VaultSetting, value: string | null): void {
    this.transaction(() => this.vaults.set(vault.vault_key, setting, value));
  }

  /** Receives a body into a file that nothing refers to yet. */
  receive(source: ByteSource): Promise<IncomingFile> {
    return this.#files.receive(source);
  }

  /** Makes an archive of one received file; the vault may have been deleted while it was received. */
  async storeArchive(vault: VaultRow, { file, description }: NewArchiveFile): Promise<string> {
    return this.publishing(file, () => {
      this.checkStillThere(vault);
      return this.insertArchive(vault.vault_key, {
        description,
        size_bytes: file.digest.sizeBytes,
        tree_hash: Buffer.from(file.digest.treeHash, "hex"),
        body_key: this.createBody(file, { held: true }),
      });
    });
  }

  /** Publishes a file and records it; a file that could not be recorded is removed again. */
  async publishing<T>(file: IncomingFile, record: () => T): Promise<T> {
    try {
      await file.publish();
      return this.transaction(record);
    } catch (error) {
      await file.discard();
      throw error;
    }
  }

  /** Within a transaction: a body of one published file, held by an archive or only by jobs. */
  createBody(file: IncomingFile, { held }: { readonly held: boolean }): number {
    const bodyKey = this.bodies.create({ held });
    this.addFile(bodyKey, 0, file);
    return bodyKey;
  }

  /** Within a transaction: adds a published file to a body; returns the file it replaces. */
  addFile(bodyKey: number, start: number, { fileId, digest }: IncomingFile): number | undefined {
    return this.bodies.putFile({
      file_id: fileId,
      body_key: bodyKey,
      start,
      size_bytes: digest.sizeBytes,
      tree_hash: Buffer.from(digest.treeHash, "hex"),
      leaves: Buffer.concat(digest.leaves),
    });
  }

  /** Within a transaction: makes the archive visible and counts it; returns its id. */
  insertArchive(
    vaultKey: number,
    archive: Pick<NewArchiveRow, "description" | "size_bytes" | "tree_hash" | "body_key">,
  ): string {
    const id = this.newId(archiveIdLength);
    const change = this.vaults.recordChange(vaultKey, { archives: 1, bytes: archive.size_bytes });
    this.archives.insert({
      ...archive,
      vault_key: vaultKey,
      archive_id: id,
      created_at_ms: this.now(),
      created_change: change,
    });
    return id;
  }

  /** Deleting a deleted archive changes nothing (cas-api section 9.2). */
  deleteArchive(vault: VaultRow, archiveId: string): void {
    this.releasing(() => {
      const archive = this.archives.find(vault.vault_key, archiveId);
      if (archive === undefined) throw notFound(`Archive not found: ${archiveId}`);
      if (archive.body_key === null) return [];
      const change = this.vaults.recordChange(vault.vault_key, { archives: -1, bytes: -archive.size_bytes });
      this.archives.markDeleted(archive, change);
      this.jobs.loseSource(archive, this.now());
      this.bodies.letGo(archive.body_key);
      return [archive.body_key];
    });
  }

  /**
   * The bytes of `range` of a body, one file after the other; they stay readable until the iteration ends. Each block is
   * lent until the next one is asked for.
   */
  async *readBody(bodyKey: number, range: ByteRange): AsyncGenerator<Buffer, void, undefined> {
    const pieces: FilePiece[] = this.bodies.filesOf(bodyKey, range).map((file) => ({
      fileId: file.file_id,
      start: Math.max(0, range.start - file.start),
      end: Math.min(file.size_bytes, range.end - file.start),
    }));
    this.#readers.begin(bodyKey);
    try {
      yield* this.#files.read(pieces);
    } finally {
      this.#readers.end(bodyKey);
    }
  }

  /**
   * The tree hash of `range` of a body of `sizeBytes`; null when it is no subtree (cas-api section 13.3).
   *
   * For bodies that do not change any more: hashes are remembered, because listings of jobs ask again and again.
   */
  rangeTreeHash(bodyKey: number, range: ByteRange, sizeBytes: number): TreeHashHex | null {
    const key = `${bodyKey}:${range.start}-${range.end}`;
    const known = this.#treeHashes.get(key);
    if (known !== undefined) return known;
    const hash = this.currentTreeHash(bodyKey, range, sizeBytes);
    if (hash !== null) this.#treeHashes.set(key, hash);
    return hash;
  }

  /** The same of a body whose files may still be replaced. */
  currentTreeHash(bodyKey: number, range: ByteRange, sizeBytes: number): TreeHashHex | null {
    const filesOf = (within: ByteRange) => this.bodies.filesOf(bodyKey, within);
    return rangeTreeHash({ sizeBytes, filesOf, leavesOf: (fileId) => this.#leavesOf(fileId) }, range);
  }

  /** Removes what a transaction has detached, once the detachment is durable. */
  removeFiles(fileIds: readonly number[]): void {
    if (fileIds.length === 0) return;
    // When the log cannot be synced the rows may come back, and must then find their files.
    this.#removals = this.#removals
      .then(() => this.durable())
      .then(() => this.#files.remove(fileIds))
      .catch(() => undefined);
  }

  /** Runs a transaction that returns bodies which it may have left without anybody who needs them. */
  releasing(work: () => readonly (number | null)[]): void {
    const released = this.transaction(() =>
      work().flatMap((bodyKey) =>
        bodyKey === null ? [] : [{ bodyKey, fileIds: this.bodies.releaseIfUnneeded(bodyKey) }],
      ),
    );
    for (const { bodyKey, fileIds } of released) this.#readers.released(bodyKey, fileIds);
  }

  #leavesOf(fileId: number): Buffer {
    const leaves = this.bodies.leaves(fileId);
    invariant(leaves !== undefined, "a file of a body has its leaves");
    return leaves;
  }
}

/** The failure of a request for something that is not there. */
export function notFound(message: string): WireError {
  return new WireError("ResourceNotFoundException", message);
}
