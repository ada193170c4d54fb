import { describe, expect, test } from "vitest";
import { byteCount } from "../../src/domain/bytes.js";
import { archiveId } from "../../src/domain/ids.js";
import type { Instant } from "../../src/domain/time.js";
import { formatInventoryCsv, readInventoryCsv } from "../../src/protocol/inventory-csv.js";
import { formatInventoryJson, type InventoryEntry, readInventoryJson } from "../../src/protocol/inventory-wire.js";
import { WireFormatError } from "../../src/protocol/json-fields.js";
import { treeHashHex } from "../../src/protocol/tree-hash.js";
import { fc } from "../support/seeded-fast-check.js";

const takenAt = Date.UTC(2017, 7, 29) as Instant;
const head = { vaultQcs: "qcs:id/0:cas:local:uid/1:vaults/v", takenAt };
const entry = fc.record({
  archiveId: fc.stringMatching(/^[A-Za-z0-9_-]{1,128}$/).map(archiveId),
  description: fc.string({
    unit: fc.oneof(
      fc.constantFrom('"', "\\", "{", "}", "[", "]", ",", "\r\n", "\n"),
      fc.string({ unit: "grapheme", maxLength: 3 }),
    ),
  }),
  createdAt: fc.integer({ min: 0, max: 4e12 }).map((value) => value as Instant),
  sizeBytes: fc.maxSafeNat().map(byteCount),
  treeHash: fc.stringMatching(/^[0-9a-f]{64}$/).map(treeHashHex),
});
const entries = fc.array(entry, { maxLength: 20 });
const pieceLength = fc.integer({ min: 1, max: 400 });

async function textOf(chunks: AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const chunk of chunks) text += chunk;
  return text;
}

async function* pieces(text: string, length: number): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  for (let offset = 0; offset < bytes.length; offset += length) yield bytes.subarray(offset, offset + length);
}

async function readJson(text: string, length = 1000) {
  const found: InventoryEntry[] = [];
  const reader = readInventoryJson(pieces(text, length));
  for (;;) {
    const step = await reader.next();
    if (step.done) return { found, summary: step.value };
    found.push(...step.value);
  }
}

async function readCsv(text: string, length = 1000): Promise<InventoryEntry[]> {
  const found: InventoryEntry[] = [];
  for await (const each of readInventoryCsv(pieces(text, length))) found.push(each);
  return found;
}

describe("a JSON inventory", () => {
  test("reads back as it was written, however its bytes are cut", async () => {
    await fc.assert(
      fc.asyncProperty(entries, pieceLength, async (written, length) => {
        const text = await textOf(formatInventoryJson(head, written));
        expect((JSON.parse(text) as { ArchiveList: unknown[] }).ArchiveList).toHaveLength(written.length);
        expect(await readJson(text, length)).toEqual({ found: written, summary: head });
      }),
    );
  });

  const sound = {
    ArchiveId: "a",
    ArchiveDescription: null,
    CreationDate: "2017-08-29T08:29:41.000Z",
    Size: 1,
    SHA256TreeHash: "0".repeat(64),
  };
  const found = {
    archiveId: "a",
    description: "",
    createdAt: Date.UTC(2017, 7, 29, 8, 29, 41),
    sizeBytes: 1,
    treeHash: "0".repeat(64),
  };

  test("may have its fields in any order, more of them, and any blanks", async () => {
    const text = ` {"Other":["ArchiveList",[{"}":"]"}]], "x\\"ArchiveList":[1],\n"ArchiveList" :\t[ ${JSON.stringify({ New: [{}], ...sound }, null, 3)} ,\n ${JSON.stringify(sound)} ] , "VaultQCS":"q","InventoryDate":null } \n`;
    for (const length of [1, 7, 1000]) {
      expect(await readJson(text, length)).toEqual({
        found: [found, found],
        summary: { vaultQcs: "q", takenAt: null },
      });
    }
  });

  const whole = JSON.stringify({ VaultQCS: "q", ArchiveList: [sound, sound] });
  test.each([
    ["is empty", ""],
    ["is another message", '{"code":"ServiceUnavailableException"}'],
    ["has no list", '{"VaultQCS":"q","InventoryDate":null}'],
    ["has a list that is none", '{"ArchiveList":{"a":1}}'],
    ["is a list", "[[]]"],
    ["ends within an entry", whole.slice(0, -30)],
    ["ends behind an entry", whole.slice(0, -2)],
    ["ends before its last brace", whole.slice(0, -1)],
    ["goes on behind its end", `${whole}x`],
    ["has two lists", '{"ArchiveList":[],"ArchiveList":[{"ArchiveId":"a"}]}'],
    ["has a number among its archives", whole.replace("},{", "},5,{")],
    ["has only numbers", '{"ArchiveList":[1,2]}'],
    ["lacks a comma", whole.replace("},{", "}{")],
    ["has a comma too many", whole.replace("},{", "},,{")],
    ["has a comma behind its last archive", whole.replace("}]", "},]")],
    ["has a list instead of an archive", whole.replace("},{", "},[],{")],
    ["has an id that escapes its directory", whole.replace('"a"', '"../a"')],
    ["has a size below zero", whole.replace(":1,", ":-1,")],
    ["has a size that is not exact", whole.replace(":1,", ":1e300,")],
    ["has a date that is none", whole.replace("2017-08-29T08", "2017-08-99T08")],
    ["has a malformed hash", whole.replace("0000", "zzzz")],
    ["has too much beside its list", `{"x":"${"y".repeat(70_000)}","ArchiveList":[]}`],
    ["has an endless entry", `{"ArchiveList":[{"ArchiveDescription":"${"y".repeat(2_000_000)}`],
  ])("that %s is refused with a clear error", async (_, text) => {
    for (const length of [3, 100_000]) {
      if (length === 3 && text.length > 10_000) continue;
      await expect(readJson(text, length)).rejects.toThrow(WireFormatError);
    }
  });

  test("cannot plant properties with a prototype of its own", async () => {
    const text = `{"ArchiveList":[{"__proto__":${JSON.stringify(sound)}}]}`;
    await expect(readJson(text)).rejects.toThrow(WireFormatError);
  });
});

describe("a CSV inventory", () => {
  // Backslashes are ambiguous: the reader takes Glacier's escapes too.
  test("reads back as it was written, however its bytes are cut", async () => {
    await fc.assert(
      fc.asyncProperty(entries, pieceLength, async (written, length) => {
        const plain = written.map((each) => ({ ...each, description: each.description.replaceAll("\\", "/") }));
        expect(await readCsv(await textOf(formatInventoryCsv(plain)), length)).toEqual(plain);
      }),
    );
  });

  const header = "ArchiveId,ArchiveDescription,CreationDate,Size,SHA256TreeHash";
  const rest = `2017-08-29T08:29:41.000Z,1,${"0".repeat(64)}`;

  test("is written by RFC 4180", async () => {
    const written = {
      archiveId: archiveId("a"),
      description: 'x,"y"',
      createdAt: takenAt,
      sizeBytes: byteCount(1),
      treeHash: treeHashHex("0".repeat(64)),
    };
    expect(await textOf(formatInventoryCsv([written]))).toBe(
      `${header}\r\na,"x,""y""",2017-08-29T00:00:00.000Z,1,${"0".repeat(64)}\r\n`,
    );
  });

  test("is also read with LF ends and backslash-escaped quotes", async () => {
    const [only] = await readCsv(`${header}\na,"say \\"hi\\", C:\\dir",${rest}`, 3);
    expect(only).toMatchObject({ archiveId: "a", description: 'say "hi", C:\\dir' });
  });

  test.each([
    ["is empty", ""],
    ["has other columns", "a,b,c\r\n"],
    ["has a row with too few columns", `${header}\r\na,b\r\n`],
    ["ends within quotes", `${header}\r\na,"b`],
    ["has a size in words", `${header}\r\na,b,2017-08-29T08:29:41.000Z,many,${"0".repeat(64)}\r\n`],
  ])("that %s is refused with a clear error", async (_, text) => {
    await expect(readCsv(text)).rejects.toThrow(WireFormatError);
  });
});
