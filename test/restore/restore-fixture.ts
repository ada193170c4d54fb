/** A recall on a service, a journal and a landing place in memory. */

import { mergeRanges } from "../../src/cache/landing-pieces.js";
import { type ByteRange, byteCount, byteRange, MIB } from "../../src/domain/bytes.js";
import type { CasfsEvent } from "../../src/domain/events.js";
import { type ArchiveKey, type VaultName, vaultName } from "../../src/domain/ids.js";
import type { RetrievalTier } from "../../src/protocol/service.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { JobPoller } from "../../src/restore/job-poller.js";
import type { ColdArchive, ContentSink, Landing } from "../../src/restore/ports.js";
import { RestoreManager, type RestoreManagerOptions } from "../../src/restore/restore-manager.js";
import { CountedBudget } from "../support/counted-budget.js";
import { FakeClock } from "../support/fake-clock.js";
import { MemoryCasService } from "../support/memory-cas-service.js";
import { MemoryRestoreJournal } from "../support/memory-journals.js";
import { noWindows } from "../support/no-windows.js";
import { newArchive, testBytes } from "../support/test-bytes.js";

export const vault: VaultName = vaultName("photos");
export const pieceBytes = MIB;

/** Landed contents and half-landed ones, which outlive a restart. */
export class MemorySink implements ContentSink {
  readonly landed = new Map<ArchiveKey, Buffer>();
  readonly #partial = new Map<ArchiveKey, { readonly bytes: Buffer; readonly verified: ByteRange[] }>();
  discards = 0;
  beginFailure: unknown;
  largestWrite = 0;

  has(archive: ArchiveKey): boolean {
    return this.landed.has(archive);
  }

  /** Why nothing more could land; null when there is room. */
  noRoom: (sizeBytes: number, underWayBytes: number) => string | null = () => null;

  async whyNoRoom(sizeBytes: number, underWayBytes: number): Promise<string | null> {
    return this.noRoom(sizeBytes, underWayBytes);
  }

  async begin(archive: ColdArchive): Promise<Landing> {
    if (this.beginFailure !== undefined) throw this.beginFailure;
    const { key, sizeBytes } = archive;
    let partial = this.#partial.get(key);
    if (partial === undefined) {
      partial = { bytes: Buffer.alloc(sizeBytes), verified: [] };
      this.#partial.set(key, partial);
    }
    const { bytes, verified } = partial;
    const clear = () => this.#partial.delete(key);
    return {
      missing: () => mergeRanges(pieces(sizeBytes).filter((piece) => !verified.some((range) => covers(range, piece)))),
      write: async (offset, data) => {
        const chunk = data instanceof Uint8Array ? data : Buffer.concat(data);
        this.largestWrite = Math.max(this.largestWrite, chunk.length);
        bytes.set(chunk, offset);
      },
      hash: async ({ start, end }) => digestOf(bytes.subarray(start, end)).treeHash,
      pieceVerified: async (range) => {
        verified.push(range);
      },
      async *read() {
        yield bytes;
      },
      treeHash: async () => digestOf(bytes).treeHash,
      commit: async () => {
        this.landed.set(key, bytes);
        clear();
      },
      discard: async () => {
        this.discards += 1;
        clear();
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
  }
}

function covers(range: ByteRange, piece: ByteRange): boolean {
  return range.start <= piece.start && range.end >= piece.end;
}

function pieces(sizeBytes: number): ByteRange[] {
  const ranges: ByteRange[] = [];
  for (let start = 0; start < sizeBytes; start += pieceBytes) {
    ranges.push(byteRange(start, Math.min(start + pieceBytes, sizeBytes)));
  }
  return ranges;
}

export class RestoreFixture {
  readonly clock: FakeClock;
  readonly service: MemoryCasService;
  readonly journal = new MemoryRestoreJournal();
  readonly sink = new MemorySink();
  readonly budget = new CountedBudget();
  readonly events: CasfsEvent[] = [];
  readonly observer = (event: CasfsEvent) => void this.events.push(event);
  manager!: RestoreManager;
  poller!: JobPoller;

  private constructor(retrievalMs: Record<RetrievalTier, number>, autoAdvance: boolean) {
    this.clock = new FakeClock({ autoAdvance });
    const { clock } = this;
    this.service = new MemoryCasService({ clock, retrievalMs });
  }

  static async create({
    retrievalMs = { expedited: 1000, standard: 1000, bulk: 1000 },
    autoAdvance = true,
  } = {}): Promise<RestoreFixture> {
    const fixture = new RestoreFixture(retrievalMs, autoAdvance);
    await fixture.service.createVault(vault);
    fixture.restart();
    return fixture;
  }

  /** The next process, on the same journal, disk and service. */
  restart(options: RestoreManagerOptions = {}): void {
    const { service, journal, sink, budget, clock, observer } = this;
    journal.crash.restart();
    this.poller = new JobPoller({ service, clock, observer });
    const parts = {
      service,
      journal,
      sink,
      windows: noWindows,
      budget,
      poller: this.poller,
      clock,
      random: () => 0.5,
      observer,
    };
    this.manager = new RestoreManager(parts, { pieceBytes, ...options });
  }

  /** An archive in the vault, known to the journal. */
  async archive(key: number, sizeBytes = 3 * MIB + 100): Promise<ColdArchive & { readonly bytes: Buffer }> {
    const bytes = testBytes(sizeBytes, key);
    const id = await this.service.uploadArchive(vault, newArchive(bytes));
    const { treeHash } = digestOf(bytes);
    const archive = { key: key as ArchiveKey, vault, id, sizeBytes: byteCount(sizeBytes), treeHash };
    this.journal.know(archive);
    return { ...archive, bytes };
  }

  hasLanded({ key, bytes }: { readonly key: ArchiveKey; readonly bytes: Buffer }): boolean {
    return this.sink.landed.get(key)?.equals(bytes) === true;
  }

  eventsOf<T extends CasfsEvent["type"]>(type: T): Extract<CasfsEvent, { type: T }>[] {
    return this.events.filter((event): event is Extract<CasfsEvent, { type: T }> => event.type === type);
  }
}
