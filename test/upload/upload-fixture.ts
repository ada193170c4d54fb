/** An uploader on a service and a journal in memory, with staged bytes in memory that count how often they are read. */

import { byteCount, MIB } from "../../src/domain/bytes.js";
import { FileSystemError } from "../../src/domain/errors.js";
import type { CasfsEvent } from "../../src/domain/events.js";
import { type ContentId, type VaultName, vaultName } from "../../src/domain/ids.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import type { StagedFile, StagedFiles } from "../../src/upload/ports.js";
import { Uploader, type UploaderOptions } from "../../src/upload/uploader.js";
import { FakeClock } from "../support/fake-clock.js";
import { MemoryCasService } from "../support/memory-cas-service.js";
import { MemoryUploadJournal } from "../support/memory-journals.js";
import { testBytes } from "../support/test-bytes.js";

export const vault: VaultName = vaultName("photos");
export const contentId = (value: number) => value as ContentId;

export const partBytes = 16 * MIB;
/** Three parts, the last of them short. */
export const threeParts = 2 * partBytes + 3 * MIB + 17;

export class MemoryStagedFiles implements StagedFiles {
  readonly contents = new Map<ContentId, Buffer>();
  syncs = 0;
  /** So many syncs fail from now on. */
  syncFailures = 0;
  openFiles = 0;

  async openStaged(content: ContentId): Promise<StagedFile> {
    const bytes = this.contents.get(content);
    if (bytes === undefined) throw new FileSystemError("not-found", `Cannot open content ${content}: it is not there`);
    this.openFiles += 1;
    return {
      sizeBytes: byteCount(bytes.length),
      sync: async () => {
        this.syncs += 1;
        if (this.syncFailures === 0) return;
        this.syncFailures -= 1;
        throw Object.assign(new Error("EIO: i/o error, fdatasync"), { code: "EIO" });
      },
      async *read({ start, end }) {
        for (let offset: number = start; offset < end; offset += MIB)
          yield bytes.subarray(offset, Math.min(offset + MIB, end));
      },
      hash: async ({ start, end }) => {
        const { sha256, treeHash, leaves } = digestOf(bytes.subarray(start, end));
        return { sha256, treeHash, leaves: Buffer.concat(leaves) };
      },
      treeHash: async ({ start, end }) => digestOf(bytes.subarray(start, end)).treeHash,
      [Symbol.asyncDispose]: async () => {
        this.openFiles -= 1;
      },
    };
  }
}

export class UploadFixture {
  readonly clock = new FakeClock();
  readonly service = new MemoryCasService({ clock: this.clock });
  readonly journal = new MemoryUploadJournal();
  readonly files = new MemoryStagedFiles();
  readonly events: CasfsEvent[] = [];
  readonly observer = (event: CasfsEvent) => void this.events.push(event);

  static async create(): Promise<UploadFixture> {
    const fixture = new UploadFixture();
    await fixture.service.createVault(vault);
    return fixture;
  }

  seal(content: number, sizeBytes: number): Buffer {
    const bytes = testBytes(sizeBytes, content);
    this.files.contents.set(contentId(content), bytes);
    this.journal.seal(contentId(content), vault, sizeBytes);
    return bytes;
  }

  /** A new one each time, as after a restart. */
  uploader(options: Partial<UploaderOptions> = {}): Uploader {
    const { service, journal, files, clock, observer } = this;
    return new Uploader(
      { service, journal, files, clock, observer },
      { multipartThresholdBytes: partBytes, partSizeBytes: partBytes, partConcurrency: 2, ...options },
    );
  }

  upload(content: number, signal = new AbortController().signal) {
    return this.uploader().upload(contentId(content), { signal });
  }

  /** Whether the vault holds exactly these bytes, once. */
  holdsOnce(bytes: Buffer): boolean {
    return this.service.archivesOf(vault).filter((archive) => archive.bytes.equals(bytes)).length === 1;
  }

  eventsOf<T extends CasfsEvent["type"]>(type: T): Extract<CasfsEvent, { type: T }>[] {
    return this.events.filter((event): event is Extract<CasfsEvent, { type: T }> => event.type === type);
  }
}
