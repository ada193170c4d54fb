import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { combineTreeHashes, contentDigest, contentSha256, treeHash } from "../../src/sdk/index.js";
import { testBytes } from "../support/test-bytes.js";

const content = testBytes(2 * MIB + 5);
const expected = digestOf(content);

test("a file, bytes and a stream have the same hashes", async () => {
  const directory = await mkdtemp(join(tmpdir(), "casfs-sdk-"));
  const path = join(directory, "content");
  await writeFile(path, content);
  try {
    for (const source of [
      () => path,
      () => content,
      () => Readable.from([content.subarray(0, 7), content.subarray(7)]),
    ]) {
      const { sha256 } = expected;
      const digest = { size: content.length, contentSha256: sha256, treeHash: expected.treeHash };
      expect(await contentDigest(source())).toEqual(digest);
      expect(await contentSha256(source())).toBe(sha256);
      expect(await treeHash(source())).toBe(expected.treeHash);
    }
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("the tree hashes of parts combine to that of the whole", async () => {
  const parts = [content.subarray(0, MIB), content.subarray(MIB, 2 * MIB), content.subarray(2 * MIB)];
  expect(combineTreeHashes(await Promise.all(parts.map((part) => treeHash(part))))).toBe(expected.treeHash);
  expect(() => combineTreeHashes([])).toThrow(RangeError);
  expect(() => combineTreeHashes(["x"])).toThrow(RangeError);
});

test("hashing can be aborted", async () => {
  await expect(contentDigest(content, { signal: AbortSignal.abort("stop") })).rejects.toBe("stop");
});
