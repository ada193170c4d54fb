/**
 * The JSON inventory of a vault, written and read as a stream (cas-api section 12.2).
 *
 * Reading holds one chunk and one entry, whatever the size of the inventory; a stranger's inventory cannot make it hold
 * more. Whole entries are found by a scan for their ends and parsed by the engine's own parser, many at a time: a
 * parser in JavaScript took three times as long for a million of them.
 */

import type { ByteCount } from "../domain/bytes.js";
import { type ArchiveId, archiveId } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";
import { JsonFields, WireFormatError } from "./json-fields.js";
import type { TreeHashHex } from "./service.js";
import { treeHashHex } from "./tree-hash.js";
import { formatTime } from "./wire-time.js";

export interface InventoryEntry {
  readonly archiveId: ArchiveId;
  /** As the uploader gave it; see `description.ts`. */
  readonly description: string;
  readonly createdAt: Instant;
  readonly sizeBytes: ByteCount;
  readonly treeHash: TreeHashHex;
}

export interface InventorySummary {
  readonly vaultQcs: string;
  /** When the service took the inventory; null when it does not say. */
  readonly takenAt: Instant | null;
}

export type EntrySource = Iterable<InventoryEntry> | AsyncIterable<InventoryEntry>;

const chunkCharactersMin = 64 * 1024;

/** Text to be sent in this order; entries are pulled as the text is consumed. */
export async function* formatInventoryJson(
  inventory: { readonly vaultQcs: string; readonly takenAt: Instant },
  entries: EntrySource,
): AsyncGenerator<string> {
  const head = { VaultQCS: inventory.vaultQcs, InventoryDate: formatTime(inventory.takenAt) };
  let text = `${JSON.stringify(head).slice(0, -1)},"ArchiveList":[`;
  let separator = "\n";
  for await (const entry of entries) {
    text += separator + JSON.stringify(formatEntry(entry));
    separator = ",\n";
    if (text.length < chunkCharactersMin) continue;
    yield text;
    text = "";
  }
  yield `${text}]}\n`;
}

/**
 * Yields the entries in batches and returns what the inventory says of itself, which may come after them.
 *
 * @throws WireFormatError for anything that is not one whole inventory: an entry lacks a field, the text ends early,
 * there is no list at all. Entries yielded before are then worth nothing: only a complete run is an inventory.
 */
export async function* readInventoryJson(
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<readonly InventoryEntry[], InventorySummary, void> {
  const scanner = new EntryScanner();
  for await (const chunk of body) {
    const batch = scanner.push(chunk);
    if (batch.length > 0) yield batch.map(parseEntry);
  }
  return parseSummary(scanner.end());
}

function formatEntry(entry: InventoryEntry) {
  return {
    ArchiveId: entry.archiveId,
    ArchiveDescription: entry.description,
    CreationDate: formatTime(entry.createdAt),
    Size: entry.sizeBytes,
    SHA256TreeHash: entry.treeHash,
  };
}

function parseEntry(value: unknown): InventoryEntry {
  const fields = new JsonFields(value, "an archive of the inventory");
  return {
    archiveId: fields.parsed("ArchiveId", archiveId),
    description: fields.text("ArchiveDescription"),
    createdAt: fields.time("CreationDate"),
    sizeBytes: fields.bytes("Size"),
    treeHash: fields.parsed("SHA256TreeHash", treeHashHex),
  };
}

function parseSummary(envelope: unknown): InventorySummary {
  const fields = new JsonFields(envelope, "the inventory");
  // The scan has taken the entries out of it; what is left of the list must be empty, and must be there.
  if (fields.list("ArchiveList").length > 0) throw fields.fault("ArchiveList", "the only list of that name");
  return { vaultQcs: fields.text("VaultQCS"), takenAt: fields.timeOrNull("InventoryDate") };
}

const byteOf = (char: string) => char.charCodeAt(0);
const quote = byteOf('"');
const backslash = byteOf("\\");
const openBrace = byteOf("{");
const closeBrace = byteOf("}");
const openBracket = byteOf("[");
const closeBracket = byteOf("]");

// A description has at most 1024 bytes, so an entry has a few thousand, however it is escaped.
const entryBytesMax = 1024 * 1024;
const envelopeBytesMax = 64 * 1024;
const listStart = /(?<!\\)"ArchiveList"\s*:\s*\[$/;

/** Cuts the stream into whole entries and the envelope around them. */
class EntryScanner {
  #phase: "before" | "list" | "after" = "before";
  /** Open braces and brackets: of the whole text before and after the list, of one entry within it. */
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** The text around the entries. */
  #envelope = "";
  /** Bytes of the list behind the last whole entry. */
  #pending = Buffer.alloc(0);
  #isFirstBatch = true;

  /** The entries that are complete with `chunk`. */
  push(chunk: Uint8Array): unknown[] {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const batch: unknown[] = [];
    let index = 0;
    if (this.#phase === "before") index = this.#scanEnvelopeStart(bytes);
    if (this.#phase === "list") index = this.#scanList(bytes, index, batch);
    if (this.#phase === "after") this.#addToEnvelope(bytes.subarray(index));
    return batch;
  }

  /** The envelope with an empty list in it. */
  end(): unknown {
    if (this.#phase === "list") throw new WireFormatError("Cannot read the inventory: it ends within the list");
    return parseJson(this.#envelope, "the inventory");
  }

  #scanEnvelopeStart(bytes: Buffer): number {
    for (let index = 0; index < bytes.length; index++) {
      const byte = bytes[index]!;
      if (this.#skipString(byte)) continue;
      if (byte === openBracket && this.#depth === 1 && this.#isListStart(bytes, index))
        return this.#enterList(bytes, index);
      if (byte === openBrace || byte === openBracket) this.#depth += 1;
      else if (byte === closeBrace || byte === closeBracket) this.#depth -= 1;
    }
    this.#addToEnvelope(bytes);
    return bytes.length;
  }

  #isListStart(bytes: Buffer, index: number): boolean {
    return listStart.test(this.#envelope.slice(-256) + bytes.toString("latin1", Math.max(0, index - 255), index + 1));
  }

  #enterList(bytes: Buffer, index: number): number {
    this.#addToEnvelope(bytes.subarray(0, index + 1));
    this.#phase = "list";
    this.#depth = 0;
    return index + 1;
  }

  #scanList(bytes: Buffer, start: number, batch: unknown[]): number {
    let entryEnd = -1;
    for (let index = start; index < bytes.length; index++) {
      const byte = bytes[index]!;
      if (byte === quote && !this.#inString) {
        // Most strings end at the next quote, and the engine finds that much faster than this loop.
        const next = bytes.indexOf(quote, index + 1);
        if (next >= 0 && bytes[next - 1] !== backslash) {
          index = next;
          continue;
        }
      }
      if (this.#skipString(byte)) continue;
      if (byte === openBrace || byte === openBracket) this.#depth += 1;
      else if (byte === closeBrace || byte === closeBracket) {
        if (this.#depth === 0) return this.#leaveList(bytes, start, entryEnd, index, batch);
        this.#depth -= 1;
        if (this.#depth === 0) entryEnd = index + 1;
      }
    }
    this.#take(bytes, start, entryEnd, bytes.length, batch);
    if (this.#pending.length > entryBytesMax)
      throw new WireFormatError("Cannot read the inventory: an entry is too long");
    return bytes.length;
  }

  #leaveList(bytes: Buffer, start: number, entryEnd: number, index: number, batch: unknown[]): number {
    this.#take(bytes, start, entryEnd, index, batch);
    if (this.#pending.toString("latin1").trim() !== "") {
      throw new WireFormatError("Cannot read the inventory: its list has something else than archives");
    }
    this.#phase = "after";
    return index;
  }

  /** Parses what is complete up to `entryEnd` (-1: nothing is) and keeps the bytes from there to `end`. */
  #take(bytes: Buffer, start: number, entryEnd: number, end: number, batch: unknown[]): void {
    if (entryEnd < 0) {
      this.#pending = Buffer.concat([this.#pending, bytes.subarray(start, end)]);
      return;
    }
    const text = Buffer.concat([this.#pending, bytes.subarray(start, entryEnd)]).toString("utf8");
    // All but the first batch begin with the comma that separates them from the one before.
    const parsed = parseJson(this.#isFirstBatch ? `[${text}]` : `[0${text}]`, "the list of the inventory") as unknown[];
    for (let index = this.#isFirstBatch ? 0 : 1; index < parsed.length; index++) batch.push(parsed[index]);
    this.#isFirstBatch = false;
    this.#pending = Buffer.from(bytes.subarray(entryEnd, end));
  }

  #addToEnvelope(bytes: Buffer): void {
    this.#envelope += bytes.toString("latin1");
    if (this.#envelope.length > envelopeBytesMax) {
      throw new WireFormatError("Cannot read the inventory: it has too much beside its list");
    }
  }

  /** Whether `byte` belongs to a string, its quotes included. */
  #skipString(byte: number): boolean {
    if (!this.#inString) {
      this.#inString = byte === quote;
      return this.#inString;
    }
    if (this.#escaped) this.#escaped = false;
    else if (byte === backslash) this.#escaped = true;
    else if (byte === quote) this.#inString = false;
    return true;
  }
}

function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WireFormatError(`Cannot read ${what}: it is not well-formed JSON`, { cause });
  }
}
