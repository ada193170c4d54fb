/**
 * Extended attributes: those of users are stored, `user.casfs.*` are computed and never stored nor listed
 * (`rsync -X` and `cp -a` would copy them).
 */

import { FileSystemError } from "../domain/errors.js";
import type { ArchiveKey, InodeNumber } from "../domain/ids.js";
import { type Clock, type FileTime, fileTime, type Instant } from "../domain/time.js";
import { type RetrievalTier, retrievalTiers } from "../protocol/service.js";
import type { CatalogPort, ContentRecord, InodeRecord } from "./catalog-port.js";
import type { ColdOpens } from "./cold-opens.js";
import type { CachedContents, PartialCopies, RecallRequests, StreamRequests, UploadRequests } from "./ports.js";

const prefix = "user.casfs.";
const namespaces = ["user.", "trusted.", "security."];
const valueBytesMax = 64 * 1024;
const nameBytesMax = 255;

export interface ExtendedAttributesParts {
  readonly catalog: CatalogPort;
  readonly cache: CachedContents;
  readonly uploads: UploadRequests;
  readonly streams: Pick<StreamRequests, "status">;
  readonly partial: Pick<PartialCopies, "landedBytes">;
  readonly recalls: RecallRequests;
  readonly coldOpens: ColdOpens;
  readonly clock: Clock;
  /** For attributes of a vault's directory. */
  readonly vaultState: (record: InodeRecord) => string | undefined;
}

export class ExtendedAttributes {
  readonly #parts: ExtendedAttributesParts;

  constructor(parts: ExtendedAttributesParts) {
    this.#parts = parts;
  }

  /** @throws FileSystemError "no-attribute". */
  get(record: InodeRecord, name: string): Uint8Array {
    checkNamespace(name);
    const value = name.startsWith(prefix)
      ? this.#computed(record, name.slice(prefix.length))
      : this.#parts.catalog.extendedAttribute(record.ino, name);
    if (value === undefined) throw new FileSystemError("no-attribute", `Inode ${record.ino} has no ${name}`);
    return typeof value === "string" ? Buffer.from(value) : value;
  }

  list(ino: InodeNumber): string[] {
    return this.#parts.catalog.extendedAttributes(ino);
  }

  async set(record: InodeRecord, name: string, value: Uint8Array, mode: "any" | "create" | "replace"): Promise<void> {
    if (name.startsWith(prefix)) return this.#command(record, name.slice(prefix.length), Buffer.from(value).toString());
    checkNamespace(name);
    if (value.length > valueBytesMax || Buffer.byteLength(name) > nameBytesMax) {
      throw new FileSystemError("invalid", `Cannot store ${name} with ${value.length} bytes`);
    }
    const { catalog } = this.#parts;
    catalog.requireWritable(record.vault);
    await catalog.mutate(() => {
      const present = catalog.extendedAttribute(record.ino, name) !== undefined;
      if (mode === "create" && present) throw new FileSystemError("exists", `${name} exists`);
      if (mode === "replace" && !present) throw new FileSystemError("no-attribute", `There is no ${name}`);
      catalog.setExtendedAttribute(record.ino, name, value);
      catalog.updateInode(record.ino, { ctime: this.#now() });
    });
  }

  async remove(record: InodeRecord, name: string): Promise<void> {
    if (name.startsWith(prefix)) throw new FileSystemError("not-permitted", `${name} cannot be removed`);
    checkNamespace(name);
    const { catalog } = this.#parts;
    catalog.requireWritable(record.vault);
    await catalog.mutate(() => {
      if (catalog.extendedAttribute(record.ino, name) === undefined) {
        throw new FileSystemError("no-attribute", `There is no ${name}`);
      }
      catalog.removeExtendedAttribute(record.ino, name);
      catalog.updateInode(record.ino, { ctime: this.#now() });
    });
  }

  #now(): FileTime {
    return fileTime(this.#parts.clock.now());
  }

  #computed(record: InodeRecord, name: string): string | undefined {
    const vaultState = this.#parts.vaultState(record);
    if (vaultState !== undefined) return name === "state" ? vaultState : undefined;
    const { content } = record;
    switch (name) {
      case "error":
        return content === null ? undefined : this.#error(content);
      case "state":
        return content === null ? undefined : this.#state(content);
      case "archive-id":
        return this.#archive(content)?.id;
      case "tree-hash":
        return this.#archive(content)?.treeHash;
      case "tier":
        return this.#recall(content)?.tier;
      case "job":
        return this.#recall(content)?.job ?? undefined;
      case "eta": {
        const expected = this.#recall(content)?.expectedAt;
        return expected == null ? undefined : iso(expected);
      }
      case "pin":
        return content?.archive == null ? undefined : this.#parts.cache.isPinned(content.archive) ? "1" : "0";
      default:
        return undefined;
    }
  }

  #state(content: ContentRecord): string {
    if (content.interrupted) return "interrupted";
    if (content.archive !== null) {
      if (this.#parts.cache.has(content.archive)) return "cached";
      if (this.#parts.catalog.isMissing(content.archive)) return "missing";
      if (this.#recall(content) !== undefined) return "recalling";
      return this.#parts.partial.landedBytes(content.archive) > 0 ? "partial" : "archived";
    }
    const progress = this.#parts.uploads.progress(content.id);
    if (progress !== undefined) return `uploading ${progress.partsSent}/${progress.parts}`;
    const stream = this.#parts.streams.status(content.id);
    return stream === undefined ? "staged" : `uploading ${stream.sentParts}/${stream.totalParts}`;
  }

  /** What keeps the content from being archived, or from being read, and when it is tried again. */
  #error(content: ContentRecord): string | undefined {
    if (content.archive === null) return this.#uploadError(content);
    if (this.#parts.catalog.isMissing(content.archive)) {
      const isHere = this.#parts.cache.has(content.archive);
      return `its archive is not in the vault any more${isHere ? "; the copy here is the last one: copy the file" : ""}`;
    }
    return this.#recallError(content, content.archive);
  }

  #recallError(content: ContentRecord, archive: ArchiveKey): string | undefined {
    const trouble = this.#recall(content)?.trouble;
    if (trouble != null) return `recall: ${trouble.message}; ${this.#nextAttempt(trouble.nextAttemptAt)}`;
    const failure = this.#parts.catalog.recallFailure(archive);
    if (failure === undefined || this.#parts.cache.has(archive)) return undefined;
    return `recall failed at ${iso(failure.failedAt)}: ${failure.message}; the next open asks again`;
  }

  #uploadError(content: ContentRecord): string | undefined {
    const failure = this.#parts.uploads.failure(content.id);
    if (failure === undefined) return undefined;
    const { attempts, message, nextAttemptAt } = failure;
    return `upload attempt ${attempts} failed: ${message}; ${this.#nextAttempt(nextAttemptAt)}`;
  }

  #nextAttempt(at: Instant | null): string {
    return at === null || at <= this.#parts.clock.now() ? "it is being tried again" : `next ${iso(at)}`;
  }

  #archive(content: ContentRecord | null) {
    return content?.archive == null ? undefined : this.#parts.catalog.archive(content.archive);
  }

  #recall(content: ContentRecord | null) {
    return content?.archive == null ? undefined : this.#parts.recalls.recallOf(content.archive);
  }

  async #command(record: InodeRecord, name: string, value: string): Promise<void> {
    const archive = this.#archive(record.content);
    if (name !== "recall" && name !== "pin" && name !== "evict") {
      throw new FileSystemError("not-permitted", `${prefix}${name} cannot be set`);
    }
    if (archive === undefined) throw new FileSystemError("invalid", "The file is not archived yet");
    if (name === "pin") return this.#parts.cache.setPinned(archive.key, parseFlag(value));
    if (name === "evict") return this.evict(record);
    const { coldOpens } = this.#parts;
    if (coldOpens.isCold(record.content)) await coldOpens.startRecall(record, parseTier(value));
  }

  /** @throws FileSystemError "busy" when it is open or pinned, "invalid" when it is not archived. */
  async evict(record: InodeRecord): Promise<void> {
    const archive = record.content?.archive;
    if (archive == null)
      throw new FileSystemError("invalid", "Cannot evict a file that is not archived: run `casfs wait`");
    const result = await this.#parts.cache.evict(archive);
    if (result === "in-use") throw new FileSystemError("busy", "Cannot evict a file that is open");
    if (result === "pinned") throw new FileSystemError("busy", "Cannot evict a pinned file: unpin it first");
  }
}

/**
 * ACLs (`system.`) would have to be enforced; the kernel does that only for file systems that say so at INIT.
 *
 * @throws FileSystemError "not-supported", "invalid" for a namespace without a name in it.
 */
function checkNamespace(name: string): void {
  const namespace = namespaces.find((one) => name.startsWith(one));
  if (namespace === undefined) throw new FileSystemError("not-supported", `Cannot keep ${name}`);
  if (name === namespace) throw new FileSystemError("invalid", `Cannot keep ${name}: it has no name`);
}

function iso(at: Instant): string {
  return new Date(at).toISOString();
}

function parseFlag(value: string): boolean {
  if (value !== "0" && value !== "1") throw new FileSystemError("invalid", `Use 0 or 1, not ${JSON.stringify(value)}`);
  return value === "1";
}

function parseTier(value: string): RetrievalTier {
  const tier = value.trim().toLowerCase();
  const known = retrievalTiers.find((one) => one === tier);
  if (known !== undefined) return known;
  throw new FileSystemError("invalid", `Use ${retrievalTiers.join(", ")}, not ${JSON.stringify(value)}`);
}
