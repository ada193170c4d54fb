import { expect, test } from "vitest";
import { lentBlocks } from "../../src/lib/lent-blocks.js";
import { testBytes } from "../support/test-bytes.js";

const content = testBytes(1000);

/** Reads `content`, as a file of which every read takes until the next turn. */
async function fill(block: Buffer, offset: number): Promise<void> {
  await new Promise(setImmediate);
  if (offset + block.length > content.length) throw new Error("too short");
  content.copy(block, 0, offset);
}

async function allOf(blocks: AsyncIterable<Buffer>): Promise<Buffer> {
  const copies: Buffer[] = [];
  for await (const block of blocks) copies.push(Buffer.from(block));
  return Buffer.concat(copies);
}

test.each([
  [0, 0, 10],
  [0, 10, 10],
  [3, 14, 10],
  [0, 1000, 10],
  [1, 1000, 333],
  [0, 1000, 5000],
])("the blocks of %i to %i, of %i bytes at most, are the range", async (start, end, blockBytes) => {
  expect(await allOf(lentBlocks({ start, end, blockBytes, fill }))).toEqual(content.subarray(start, end));
});

test("two buffers do for any number of blocks", async () => {
  const memory = new Set<ArrayBufferLike>();
  for await (const { buffer } of lentBlocks({ start: 0, end: 1000, blockBytes: 10, fill })) memory.add(buffer);
  expect(memory.size).toBe(2);
});

test("a read that fails is told when its block's turn comes; who leaves early hears nothing and waits for it", async () => {
  const starts: number[] = [];
  const reading = async () => {
    for await (const block of lentBlocks({ start: 980, end: 1010, blockBytes: 20, fill })) starts.push(block[0]!);
  };
  await expect(reading()).rejects.toThrow("too short");
  expect(starts).toEqual([content[980]]);

  let pending = 0;
  const counted = async (block: Buffer, offset: number) => {
    pending += 1;
    await fill(block, offset).finally(() => {
      pending -= 1;
    });
  };
  for await (const _ of lentBlocks({ start: 980, end: 1010, blockBytes: 20, fill: counted })) break;
  expect(pending).toBe(0);
});
