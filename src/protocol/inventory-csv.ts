/** The CSV inventory of a vault, written and read as a stream (cas-api section 12.2). */

import { byteCount } from "../domain/bytes.js";
import { archiveId } from "../domain/ids.js";
import type { EntrySource, InventoryEntry } from "./inventory-wire.js";
import { WireFormatError } from "./json-fields.js";
import { treeHashHex } from "./tree-hash.js";
import { formatTime, parseTime } from "./wire-time.js";

const columns = ["ArchiveId", "ArchiveDescription", "CreationDate", "Size", "SHA256TreeHash"] as const;
const chunkCharactersMin = 64 * 1024;

/** Text to be sent in this order: a header row, then one row per archive; RFC 4180. */
export async function* formatInventoryCsv(entries: EntrySource): AsyncGenerator<string> {
  let text = formatRow(columns);
  for await (const entry of entries) {
    text += formatRow([
      entry.archiveId,
      entry.description,
      formatTime(entry.createdAt),
      String(entry.sizeBytes),
      entry.treeHash,
    ]);
    if (text.length < chunkCharactersMin) continue;
    yield text;
    text = "";
  }
  if (text !== "") yield text;
}

/**
 * Yields the archives of a CSV inventory; takes LF line ends and backslash-escaped quotes too.
 *
 * The two ways to escape a quote contradict each other where a description ends in a backslash; casfs never writes one.
 *
 * @throws WireFormatError
 */
export async function* readInventoryCsv(body: AsyncIterable<Uint8Array>): AsyncGenerator<InventoryEntry> {
  let header: readonly string[] | undefined;
  for await (const row of readRows(body)) {
    if (header !== undefined) yield parseRow(row);
    else header = checkHeader(row);
  }
  if (header === undefined) throw new WireFormatError("Cannot read the inventory: it is empty");
}

function formatRow(fields: readonly string[]): string {
  return `${fields.map((field) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join(",")}\r\n`;
}

function checkHeader(row: readonly string[]): readonly string[] {
  if (columns.some((name, index) => row[index] !== name)) {
    throw new WireFormatError(`Cannot read the inventory: its first row is not ${columns.join(",")}`);
  }
  return row;
}

function parseRow(row: readonly string[]): InventoryEntry {
  const [id, description, created, size, hash] = row;
  try {
    if (row.length !== columns.length || !/^\d{1,16}$/.test(size!)) throw new RangeError("A row has other columns");
    return {
      archiveId: archiveId(id!),
      description: description!,
      createdAt: parseTime(created!),
      sizeBytes: byteCount(Number(size)),
      treeHash: treeHashHex(hash!),
    };
  } catch (cause) {
    throw new WireFormatError("Cannot read an archive of the inventory", { cause });
  }
}

const rowCharactersMax = 1024 * 1024;

async function* readRows(body: AsyncIterable<Uint8Array>): AsyncGenerator<string[]> {
  const decoder = new TextDecoder();
  const splitter = new RowSplitter();
  for await (const chunk of body) yield* splitter.push(decoder.decode(chunk, { stream: true }));
  yield* splitter.push(decoder.decode());
  yield* splitter.end();
}

/** Splits text into rows of fields; state survives between chunks, which may end anywhere. */
class RowSplitter {
  #row: string[] = [];
  #field = "";
  #rowCharacters = 0;
  #state: "bare" | "quoted" | "escape" | "quote-seen" = "bare";

  *push(text: string): Generator<string[]> {
    for (const char of text) {
      this.#rowCharacters += 1;
      if (this.#rowCharacters > rowCharactersMax)
        throw new WireFormatError("Cannot read the inventory: a row is too long");
      if (this.#inQuotes(char)) continue;
      if (char === ",") this.#endField();
      else if (char === "\n") yield this.#endRow();
      else if (char === '"' && this.#field === "") this.#state = "quoted";
      else this.#field += char;
    }
  }

  *end(): Generator<string[]> {
    if (this.#state === "quoted" || this.#state === "escape") {
      throw new WireFormatError("Cannot read the inventory: it ends within a quoted field");
    }
    if (this.#field !== "" || this.#row.length > 0) yield this.#endRow();
  }

  /** Whether `char` was dealt with as a part of a quoted field. */
  #inQuotes(char: string): boolean {
    if (this.#state === "bare") return false;
    if (this.#state === "escape") {
      this.#field += char === '"' || char === "\\" ? char : `\\${char}`;
      this.#state = "quoted";
      return true;
    }
    if (this.#state === "quote-seen") {
      this.#state = char === '"' ? "quoted" : "bare";
      if (char === '"') this.#field += char;
      return char === '"';
    }
    if (char === '"') this.#state = "quote-seen";
    else if (char === "\\") this.#state = "escape";
    else this.#field += char;
    return true;
  }

  #endField(): void {
    this.#row.push(this.#field);
    this.#field = "";
  }

  #endRow(): string[] {
    // The CR of a CRLF has ended up in the last field, which never ends in one otherwise.
    this.#field = this.#field.replace(/\r$/, "");
    this.#endField();
    const row = this.#row;
    this.#row = [];
    this.#rowCharacters = 0;
    return row;
  }
}
