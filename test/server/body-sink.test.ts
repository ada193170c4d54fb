import type { FileHandle } from "node:fs/promises";
import { PassThrough, Readable } from "node:stream";
import { expect, test, vi } from "vitest";
import { GivenMemory } from "../../src/lib/given-memory.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { receiveInto } from "../../src/server/bytes/body-sink.js";
import { testBytes } from "../support/test-bytes.js";

const never = new AbortController().signal;

/** A file in memory; `write` may take fewer bytes than offered, or fail. */
function fileWith(write: (offered: number) => number) {
  const bytes = Buffer.alloc(100_000_000);
  const handle = {
    writev: async (buffers: readonly Buffer[], position: number) => {
      const all = Buffer.concat(buffers);
      const bytesWritten = write(all.length);
      all.copy(bytes, position, 0, bytesWritten);
      return { bytesWritten };
    },
    datasync: async () => undefined,
  };
  return { bytes, handle: handle as unknown as FileHandle };
}

function* pieces(bytes: Buffer, size: number): Generator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

test("everything is written in order, also when the system takes less than it is offered", async () => {
  const content = testBytes(5_000_000);
  const file = fileWith((offered) => Math.min(offered, 70_001));
  const digest = await receiveInto(file.handle, { stream: Readable.from(pieces(content, 65_536)), signal: never });
  expect(digest).toEqual(digestOf(content));
  expect(file.bytes.subarray(0, content.length).equals(content)).toBe(true);
});

test("a full disk rejects with its error and leaves the source readable", async () => {
  const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  const file = fileWith(() => {
    throw full;
  });
  const stream = new PassThrough();
  const receiving = receiveInto(file.handle, { stream, signal: never });
  for (let batch = 0; batch < 3; batch++) stream.write(testBytes(1_500_000));
  await expect(receiving).rejects.toBe(full);
  expect(stream.destroyed).toBe(false);
});

test("a failed sync is not forgotten, although the kernel reports it only once", async () => {
  const file = fileWith((offered) => offered);
  let syncs = 0;
  Object.assign(file.handle, {
    datasync: async () => {
      if (syncs++ === 0) throw new Error("disk error");
    },
  });
  const stream = Readable.from(pieces(testBytes(70_000_000), 1_000_000));
  await expect(receiveInto(file.handle, { stream, signal: never })).rejects.toThrow("disk error");
});

test("a source that breaks off, or a signal, rejects", async () => {
  const broken = new PassThrough();
  const receiving = receiveInto(fileWith((offered) => offered).handle, { stream: broken, signal: never });
  broken.write(testBytes(10));
  broken.destroy();
  await expect(receiving).rejects.toThrow("closed before the end");
  const stalled = new AbortController();
  const waiting = receiveInto(fileWith((offered) => offered).handle, {
    stream: new PassThrough(),
    signal: stalled.signal,
  });
  stalled.abort(new Error("stalled"));
  await expect(waiting).rejects.toThrow("stalled");
});

test("a body that breaks off while its disk is slow is not written any more once it is given up", async () => {
  const file = fileWith((offered) => offered);
  const { writev } = file.handle;
  const begun: (() => void)[] = [];
  const slow = async (...write: Parameters<typeof writev>) => {
    await new Promise<void>((resolve) => begun.push(resolve));
    return writev(...write);
  };
  Object.assign(file.handle, { writev: slow });
  const stream = new PassThrough();
  const receiving = receiveInto(file.handle, { stream, signal: never });
  // The first batch is being written, the second one waits for it.
  for (let batch = 0; batch < 2; batch++) stream.write(testBytes(1_100_000));
  await vi.waitUntil(() => begun.length > 0 && stream.isPaused());
  stream.destroy();
  await new Promise(setImmediate);
  begun[0]!();
  await expect(receiving).rejects.toThrow("closed before the end");
  expect(begun.length).toBe(1);
});

test("the memory of pieces that a source gives away is free once they are written, and of no others", async () => {
  const content = testBytes(3_000_000);
  const ofTheirOwn = () => [...pieces(content, 65_536)].map((piece) => Buffer.from(new Uint8Array(piece).buffer));
  const given = ofTheirOwn();
  const file = fileWith((offered) => Math.min(offered, 70_001));
  const source = { stream: Readable.from(given), signal: never, givesPieces: true };
  expect(await receiveInto(file.handle, source, new GivenMemory())).toEqual(digestOf(content));
  expect(file.bytes.subarray(0, content.length).equals(content)).toBe(true);
  expect(given.every(({ length }) => length === 0)).toBe(true);

  const kept = ofTheirOwn();
  await receiveInto(file.handle, { stream: Readable.from(kept), signal: never }, new GivenMemory());
  expect(kept.every(({ length }) => length > 0)).toBe(true);
  const slices = { stream: Readable.from(pieces(content, 65_536)), signal: never, givesPieces: true };
  await receiveInto(file.handle, slices, new GivenMemory());
  expect(content.equals(testBytes(3_000_000))).toBe(true);
});
