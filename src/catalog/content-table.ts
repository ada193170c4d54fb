/** Content versions and the archives they became. */

import type BetterSqlite3 from "better-sqlite3";
import { type ByteCount, byteCount } from "../domain/bytes.js";
import type { ArchiveId, ArchiveKey, ContentId, InodeNumber, VaultName } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";
import { invariant } from "../lib/invariant.js";
import type { StoredArchive } from "../protocol/prices.js";
import type { TreeHashHex } from "../protocol/service.js";
import type { ColdArchive } from "../restore/ports.js";
import type { ContentChanges, ContentPhase, ContentRecord } from "../vfs/catalog-port.js";
import type { InodeRecords } from "./inode-records.js";
import type { NumberMint } from "./number-mint.js";
import { type ColumnValue, PartialUpdate } from "./partial-update.js";
import type { VaultTable } from "./vault-table.js";

interface ContentRow {
  readonly id: number;
  readonly ino: number;
  readonly version: number;
  readonly phase: ContentPhase;
  readonly size_bytes: number;
  readonly flushed: number;
  readonly interrupted: number;
  readonly recovered: number;
  readonly durable: number;
  readonly boot_id: string;
  readonly due_at_ms: number;
  readonly archive_key: number | null;
}

export interface ArchiveRow {
  readonly key: number;
  readonly vault_id: number;
  readonly archive_id: string;
  readonly size_bytes: number;
  readonly tree_hash: string;
  readonly description: string;
  readonly created_at_ms: number;
}

/** A content as recovery and status see it. */
export interface StoredContent extends ContentRecord {
  readonly ino: InodeNumber;
  readonly sizeBytes: ByteCount;
  readonly flushed: boolean;
  readonly recovered: boolean;
  readonly durable: boolean;
  readonly bootId: string;
  readonly dueAt: Instant;
}

export interface NewArchiveRow {
  readonly vault: VaultName;
  readonly id: ArchiveId;
  readonly sizeBytes: number;
  readonly treeHash: TreeHashHex;
  readonly description: string;
  readonly createdAt: Instant;
  /** Of a casfs description. */
  readonly fileId?: string | undefined;
  readonly version?: number | undefined;
  readonly unreadable?: string | undefined;
  /** Date of the inventory that brought it. */
  readonly seenAt?: Instant | undefined;
}

export interface ContentNumbers {
  readonly contents: NumberMint;
  readonly archives: NumberMint;
}

export interface ContentTableParts {
  readonly vaults: VaultTable;
  readonly numbers: ContentNumbers;
  readonly bootId: string;
  /** Told of every change to what they say of contents. */
  readonly records: InodeRecords;
}

export class ContentTable {
  readonly #vaults: VaultTable;
  readonly #numbers: ContentNumbers;
  readonly #bootId: string;
  readonly #records: InodeRecords;
  readonly #find: BetterSqlite3.Statement<[number], ContentRow>;
  readonly #ofInode: BetterSqlite3.Statement<[number], ContentRow>;
  readonly #unarchived: BetterSqlite3.Statement<[], ContentRow>;
  readonly #archivedIds: BetterSqlite3.Statement<[number], number | null>;
  readonly #insert: BetterSqlite3.Statement<[number, number, number, string, string]>;
  readonly #insertArchived: BetterSqlite3.Statement<[number, number, number, number, string, number]>;
  readonly #update: PartialUpdate;
  readonly #lastArchivedAt: BetterSqlite3.Statement<[number], number | null>;
  readonly #setArchived: BetterSqlite3.Statement<[number, number]>;
  readonly #twin: BetterSqlite3.Statement<[number, string, number, number, string], number>;
  readonly #rival: BetterSqlite3.Statement<[number, string, number, number, string], number>;
  readonly #moveTo: BetterSqlite3.Statement<[number, number]>;
  readonly #setDurable: BetterSqlite3.Statement<[number]>;
  readonly #remove: BetterSqlite3.Statement<[number]>;
  readonly #setInodeContent: BetterSqlite3.Statement<[number, number]>;
  readonly #nextVersion: BetterSqlite3.Statement<[number], number>;
  readonly #setVersions: BetterSqlite3.Statement<[number, number]>;
  readonly #archive: BetterSqlite3.Statement<[number], ArchiveRow>;
  readonly #archivesAfter: BetterSqlite3.Statement<[Record<string, number | null>], ArchiveRow>;
  readonly #archivedAt: BetterSqlite3.Statement<[number], number>;
  readonly #archiveById: BetterSqlite3.Statement<[number, string], ArchiveRow>;
  readonly #insertArchive: BetterSqlite3.Statement<
    [number, number, string, number, string, string, number, string | null, number | null, string | null, number | null]
  >;
  readonly #unreadable: BetterSqlite3.Statement<[number], string | null>;
  readonly #inodeOfArchive: BetterSqlite3.Statement<[number], number>;
  readonly #references: BetterSqlite3.Statement<[number], number>;
  readonly #removeArchive: BetterSqlite3.Statement<[number]>;
  readonly #removeArchives: BetterSqlite3.Statement<[number]>;
  readonly #namedVersion: BetterSqlite3.Statement<[number, string], number>;
  readonly #outdated: BetterSqlite3.Statement<[number, string, number, number], number>;
  readonly #stagedFile: BetterSqlite3.Statement<[string], number>;

  constructor(sql: BetterSqlite3.Database, { vaults, numbers, bootId, records }: ContentTableParts) {
    this.#vaults = vaults;
    this.#numbers = numbers;
    this.#bootId = bootId;
    this.#records = records;
    this.#find = sql.prepare("SELECT * FROM content WHERE id = ?");
    this.#ofInode = sql.prepare("SELECT * FROM content WHERE ino = ? ORDER BY version");
    this.#unarchived = sql.prepare("SELECT * FROM content WHERE phase <> 'archived' ORDER BY id");
    this.#archivedIds = sql
      .prepare<[number], number | null>("SELECT archive_key FROM content WHERE id = ? AND phase = 'archived'")
      .pluck();
    this.#insert = sql.prepare(
      "INSERT INTO content (id, ino, version, phase, size_bytes, boot_id) VALUES (?, ?, ?, ?, 0, ?)",
    );
    this.#insertArchived = sql.prepare(
      "INSERT INTO content (id, ino, version, phase, size_bytes, durable, boot_id, archive_key) VALUES (?, ?, ?, 'archived', ?, 1, ?, ?)",
    );
    this.#update = new PartialUpdate(sql, "content", "id");
    this.#lastArchivedAt = sql
      .prepare<[number], number | null>(
        "SELECT max(a.created_at_ms) FROM content c JOIN archive a ON a.key = c.archive_key WHERE c.ino = ?",
      )
      .pluck();
    this.#setArchived = sql.prepare(
      "UPDATE content SET phase = 'archived', interrupted = 0, archive_key = ? WHERE id = ?",
    );
    this.#twin = sql
      .prepare<[number, string, number, number, string], number>(
        `SELECT 1 FROM archive a JOIN content c ON c.archive_key = a.key
         WHERE a.vault_id = ? AND a.file_id = ? AND a.version = ? AND a.size_bytes = ? AND a.tree_hash = ?`,
      )
      .pluck();
    this.#rival = sql
      .prepare<[number, string, number, number, string], number>(
        `SELECT 1 FROM archive a JOIN content c ON c.archive_key = a.key
         WHERE a.vault_id = ? AND a.file_id = ? AND a.version = ? AND NOT (a.size_bytes = ? AND a.tree_hash = ?)`,
      )
      .pluck();
    this.#moveTo = sql.prepare("UPDATE content SET ino = ?, version = 1 WHERE id = ?");
    this.#setDurable = sql.prepare("UPDATE content SET durable = 1 WHERE id = ?");
    this.#remove = sql.prepare("DELETE FROM content WHERE id = ?");
    this.#setInodeContent = sql.prepare("UPDATE inode SET content_id = ? WHERE ino = ?");
    this.#nextVersion = sql
      .prepare<[number], number>("UPDATE inode SET versions = versions + 1 WHERE ino = ? RETURNING versions")
      .pluck();
    this.#setVersions = sql.prepare("UPDATE inode SET versions = ? WHERE ino = ?");
    this.#archive = sql.prepare("SELECT * FROM archive WHERE key = ?");
    this.#archivesAfter = sql.prepare(
      "SELECT * FROM archive WHERE key > $key AND ($vault IS NULL OR vault_id = $vault) ORDER BY key LIMIT $limit",
    );
    this.#archivedAt = sql.prepare<[number], number>("SELECT created_at_ms FROM archive WHERE key = ?").pluck();
    this.#archiveById = sql.prepare("SELECT * FROM archive WHERE vault_id = ? AND archive_id = ?");
    this.#inodeOfArchive = sql.prepare<[number], number>("SELECT ino FROM content WHERE archive_key = ?").pluck();
    this.#insertArchive = sql.prepare(`INSERT INTO archive
      (key, vault_id, archive_id, size_bytes, tree_hash, description, created_at_ms, file_id, version, unreadable,
      seen_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    this.#unreadable = sql.prepare<[number], string | null>("SELECT unreadable FROM archive WHERE key = ?").pluck();
    this.#references = sql.prepare<[number], number>("SELECT count(*) FROM content WHERE archive_key = ?").pluck();
    this.#removeArchive = sql.prepare("DELETE FROM archive WHERE key = ?");
    this.#removeArchives = sql.prepare("DELETE FROM archive WHERE vault_id = ?");
    this.#namedVersion = sql
      .prepare<[number, string], number>(
        "SELECT 1 FROM archive a JOIN content c ON c.archive_key = a.key WHERE a.vault_id = ? AND a.file_id = ? LIMIT 1",
      )
      .pluck();
    this.#outdated = sql
      .prepare<[number, string, number, number], number>(
        `SELECT 1 FROM archive a JOIN content c ON c.archive_key = a.key
         WHERE a.vault_id = ? AND a.file_id = ? AND a.version > ?
           AND NOT EXISTS (SELECT 1 FROM content older WHERE older.ino = c.ino AND older.version = ?) LIMIT 1`,
      )
      .pluck();
    this.#stagedFile = sql
      .prepare<[string], number>(
        "SELECT 1 FROM content c CROSS JOIN inode i ON i.ino = c.ino WHERE c.phase <> 'archived' AND i.file_id = ? LIMIT 1",
      )
      .pluck();
  }

  find(content: ContentId): StoredContent | undefined {
    const row = this.#find.get(content);
    return row && toStored(row);
  }

  ofInode(ino: InodeNumber): StoredContent[] {
    return this.#ofInode.all(ino).map(toStored);
  }

  /** When the newest archive of a file was made. */
  lastArchivedAt(ino: InodeNumber): Instant | undefined {
    return (this.#lastArchivedAt.get(ino) ?? undefined) as Instant | undefined;
  }

  /** Every content that is not archived, oldest first. */
  unarchived(): StoredContent[] {
    return this.#unarchived.all().map(toStored);
  }

  /** The archive of an archived content. */
  archiveOf(content: ContentId): ArchiveKey | undefined {
    return (this.#archivedIds.get(content) as ArchiveKey | null | undefined) ?? undefined;
  }

  /** The first content of a file that is being made; the caller puts its number into the inode. */
  insertFirst(ino: InodeNumber, id: ContentId): void {
    this.#insert.run(id, ino, 1, "writing", this.#bootId);
  }

  nextNumber(): ContentId {
    return this.#numbers.contents.next() as ContentId;
  }

  insert(ino: InodeNumber, { newest }: { readonly newest: boolean }): ContentRecord {
    // Not from the contents that are left: an emptied file has none, and its next one must not look older in the vault.
    const version = this.#nextVersion.get(ino);
    invariant(version !== undefined, `inode ${ino} exists`);
    const id = this.nextNumber();
    this.#insert.run(id, ino, version, "writing", this.#bootId);
    if (newest) this.#setNewest(ino, id);
    return { id, version, phase: "writing", archive: null, interrupted: false };
  }

  /** The newest content of a file that an inventory brought. */
  insertArchived(ino: InodeNumber, version: number, archive: ArchiveKey, sizeBytes: number): void {
    const id = this.nextNumber();
    this.#insertArchived.run(id, ino, version, sizeBytes, this.#bootId, archive);
    this.#setNewest(ino, id);
    this.#setVersions.run(version, ino);
  }

  #setNewest(ino: InodeNumber, content: ContentId): void {
    this.#setInodeContent.run(content, ino);
    this.#records.forget(ino);
  }

  /** Of a content that is not archived. */
  update(content: ContentId, changes: ContentChanges): void {
    const columns = ["boot_id"];
    const values: ColumnValue[] = [this.#bootId];
    const set = (column: string, value: ColumnValue | undefined) => {
      if (value === undefined) return;
      columns.push(column);
      values.push(value);
    };
    set("phase", changes.phase);
    set("size_bytes", changes.sizeBytes);
    set("flushed", flag(changes.flushed));
    set("interrupted", flag(changes.interrupted));
    set("recovered", flag(changes.recovered));
    set("due_at_ms", changes.dueAt);
    // Written again: what was on the disk is not what it has now.
    set("durable", changes.phase === "writing" ? 0 : flag(changes.durable));
    invariant(this.#update.run(content, columns, values), `content ${content} exists`);
    if (changes.phase !== undefined || changes.interrupted !== undefined) this.#records.forgetContent(content);
  }

  /** The content becomes that of another file, its first. */
  moveTo(content: ContentId, ino: InodeNumber): void {
    this.#moveTo.run(ino, content);
    this.#records.forgetContent(content);
    this.#setNewest(ino, content);
    this.#setVersions.run(1, ino);
  }

  setDurable(content: ContentId): void {
    this.#setDurable.run(content);
  }

  setArchived(content: ContentId, archive: ArchiveKey): void {
    this.#setArchived.run(archive, content);
    this.#records.forgetContent(content);
  }

  remove(content: ContentId): void {
    this.#remove.run(content);
    this.#records.forgetContent(content);
  }

  archive(key: ArchiveKey): ColdArchive | undefined {
    const row = this.#archive.get(key);
    return row && this.#toColdArchive(row);
  }

  /** Archives of `vault`, or of all when it is null, in the order of their keys: those after `key`, at most `limit`. */
  archivesAfter(key: number, vault: VaultName | null, limit: number): (StoredArchive & { readonly key: ArchiveKey })[] {
    const rows = this.#archivesAfter.all({
      key,
      vault: vault === null ? null : this.#vaults.idOf(vault),
      limit,
    });
    return rows.map((row) => ({
      key: row.key as ArchiveKey,
      sizeBytes: byteCount(row.size_bytes),
      createdAt: row.created_at_ms as Instant,
    }));
  }

  descriptionOf(key: ArchiveKey): string {
    return this.#archive.get(key)?.description ?? "";
  }

  /** When the service made the archive, or when we were told of it. */
  archivedAt(key: ArchiveKey): Instant {
    return (this.#archivedAt.get(key) ?? 0) as Instant;
  }

  archiveById(vault: VaultName, id: ArchiveId): ColdArchive | undefined {
    const row = this.#archiveById.get(this.#vaults.idOf(vault), id);
    return row && this.#toColdArchive(row);
  }

  /** The file whose bytes an archive has; undefined for an archive without a name. */
  inodeOfArchive(key: ArchiveKey): InodeNumber | undefined {
    return this.#inodeOfArchive.get(key) as InodeNumber | undefined;
  }

  /** Contents whose bytes an archive has: that of a file, that of its copy in the trash. */
  referencesTo(key: ArchiveKey): number {
    return this.#references.get(key) ?? 0;
  }

  insertArchive(archive: NewArchiveRow): ArchiveKey {
    const key = this.#numbers.archives.next() as ArchiveKey;
    this.#insertArchive.run(
      key,
      this.#vaults.idOf(archive.vault),
      archive.id,
      archive.sizeBytes,
      archive.treeHash,
      archive.description,
      archive.createdAt,
      archive.fileId ?? null,
      archive.version ?? null,
      archive.unreadable ?? null,
      archive.seenAt ?? null,
    );
    return key;
  }

  /** Whether a file of the tree has an archived version. */
  isNamed(vault: VaultName, fileId: string): boolean {
    return this.#namedVersion.get(this.#vaults.idOf(vault), fileId) !== undefined;
  }

  /** Whether this very version of a file is archived under another id: same bytes, so one of the two is a twin. */
  hasTwin(vault: VaultName, twin: { fileId: string; version: number; sizeBytes: number; treeHash: string }): boolean {
    const { fileId, version, sizeBytes, treeHash } = twin;
    return this.#twin.get(this.#vaults.idOf(vault), fileId, version, sizeBytes, treeHash) !== undefined;
  }

  /** Whether this very version of a file is archived with other bytes: two writers have made it. */
  hasOtherBytes(
    vault: VaultName,
    twin: { fileId: string; version: number; sizeBytes: number; treeHash: string },
  ): boolean {
    const { fileId, version, sizeBytes, treeHash } = twin;
    return this.#rival.get(this.#vaults.idOf(vault), fileId, version, sizeBytes, treeHash) !== undefined;
  }

  /** Whether a file has no content of `version` any more, and a later one is archived. */
  isOutdated(vault: VaultName, { fileId, version }: { readonly fileId: string; readonly version: number }): boolean {
    return this.#outdated.get(this.#vaults.idOf(vault), fileId, version, version) !== undefined;
  }

  /** Whether a file has bytes that are not archived. Looks at all of those: not for every row of an inventory. */
  isStaged(fileId: string): boolean {
    return this.#stagedFile.get(fileId) !== undefined;
  }

  /** Why the bytes of an archive must not be handed out. */
  unreadableReason(key: ArchiveKey): string | null {
    return this.#unreadable.get(key) ?? null;
  }

  /** The vault is gone, and with it its archives. */
  removeArchives(vault: VaultName): void {
    this.#removeArchives.run(this.#vaults.idOf(vault));
  }

  removeArchive(key: ArchiveKey): void {
    this.#removeArchive.run(key);
  }

  #toColdArchive(row: ArchiveRow): ColdArchive {
    return {
      key: row.key as ArchiveKey,
      vault: this.#vaults.nameOf(row.vault_id),
      id: row.archive_id as ArchiveId,
      sizeBytes: byteCount(row.size_bytes),
      treeHash: row.tree_hash as TreeHashHex,
    };
  }
}

function toStored(row: ContentRow): StoredContent {
  return {
    id: row.id as ContentId,
    ino: row.ino as InodeNumber,
    version: row.version,
    phase: row.phase,
    archive: row.archive_key as ArchiveKey | null,
    interrupted: row.interrupted === 1,
    sizeBytes: byteCount(row.size_bytes),
    flushed: row.flushed === 1,
    recovered: row.recovered === 1,
    durable: row.durable === 1,
    bootId: row.boot_id,
    dueAt: row.due_at_ms as Instant,
  };
}

function flag(value: boolean | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}
