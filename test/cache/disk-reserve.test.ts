import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { DiskReserve } from "../../src/cache/disk-reserve.js";
import { TIB } from "../../src/domain/bytes.js";

test("on a disk with room writers take, and nothing is evicted", () => {
  const reserve = new DiskReserve(tmpdir(), { keepFreeBytes: 0 });
  reserve.setEvictor(() => Promise.reject(new Error("evicted")));
  expect(reserve.take(1000)).toBe(true);
});

test("when the disk is full, copies are evicted, and only then there is no room", async () => {
  const reserve = new DiskReserve(tmpdir(), { keepFreeBytes: 0 });
  const asked: number[] = [];
  reserve.setEvictor(async ({ needBytes }) => void asked.push(needBytes));
  const tooMuch = 1000 * TIB;
  expect(reserve.take(tooMuch)).toBe(false);
  expect(await reserve.reclaim(tooMuch)).toBe(false);
  expect(asked).toHaveLength(1);
});

test("the reserve is never more than a sixteenth of the disk, so that a small one can be used", () => {
  const { blocks, blocksFree } = new DiskReserve(tmpdir(), { keepFreeBytes: 0 }).space();
  const kept = new DiskReserve(tmpdir(), { keepFreeBytes: 1000 * TIB }).space();
  expect(kept.blocksFree).toBeGreaterThanOrEqual(blocksFree - Math.ceil(blocks / 16) - blocks / 100);
});
