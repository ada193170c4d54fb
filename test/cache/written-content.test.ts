import { expect, test } from "vitest";
import { WrittenContent } from "../../src/cache/written-content.js";
import { byteRange, MIB } from "../../src/domain/bytes.js";
import type { Sha256Hex } from "../../src/protocol/service.js";

const partBytes = 4 * MIB;
const linear = "linear" as Sha256Hex;

const begin = () => new WrittenContent({ partBytes, wholeBytesMax: 8 * MIB });

function write(content: WrittenContent, start: number, end: number): void {
  content.didWrite(content.willWrite(start, end));
}

/** Hashes what is given out; undefined when there is nothing. */
function step(content: WrittenContent) {
  const given = content.nextStep();
  if (given !== undefined) content.didHash(leaves(given.end - given.first), given.end % 4 === 0 ? linear : undefined);
  return given;
}

const leaves = (count: number) => Buffer.alloc(32 * count, 7);

test("nothing is given out before a MiB is complete, nor what was not written in order", () => {
  const content = begin();
  write(content, 0, MIB - 1);
  expect(content.nextStep()).toBeUndefined();
  write(content, 2 * MIB, 3 * MIB);
  write(content, MIB - 1, MIB + 5);
  expect(step(content)).toMatchObject({ first: 0, end: 1 });
  expect(content.nextStep()).toBeUndefined();
});

test("nothing is given out where a write is under way, and all of it when that is over", () => {
  const content = begin();
  write(content, 0, 3 * MIB);
  const change = content.willWrite(2 * MIB - 1, 2 * MIB);
  expect(content.mayContinue).toBe(true);
  expect(step(content)).toMatchObject({ first: 0, end: 1 });
  expect(content.mayContinue).toBe(false);
  expect(content.nextStep()).toBeUndefined();
  content.didFail(change);
  expect(step(content)).toMatchObject({ first: 1, end: 3, wholeIntact: true });
});

test("what changes while it is hashed is not known afterwards, and no running hash goes on from there", () => {
  const content = begin();
  write(content, 0, 4 * MIB + 1);
  expect(content.nextStep()).toMatchObject({ first: 0, end: 4 });
  write(content, MIB, MIB + 1);
  content.didHash(leaves(4), linear);
  expect([...content.leaves.copy({ first: 0, end: 4 }).known]).toEqual([1, 0, 1, 1]);
  expect(content.partHash(byteRange(0, partBytes))).toBeUndefined();
  write(content, 4 * MIB + 1, 6 * MIB);
  expect(step(content)).toMatchObject({ first: 4, end: 6, wholeIntact: false, partIntact: true });
  write(content, 5 * MIB, 5 * MIB + 1);
  write(content, 6 * MIB, 8 * MIB);
  expect(step(content)).toMatchObject({ first: 6, end: 8, partIntact: false });
  expect(content.partHash(byteRange(partBytes, 2 * partBytes))).toBeUndefined();
});

test("the end of a range is not right when any of its bytes changed while it was hashed", () => {
  for (const [start, isRight] of [
    [100, false],
    [2 * MIB, false],
    [3 * MIB, true],
  ] as const) {
    const content = begin();
    const range = byteRange(0, 2.5 * MIB);
    write(content, 0, 2.5 * MIB);
    step(content);
    expect(content.nextEnd(range)).toEqual({ first: 2, endBytes: 2.5 * MIB, of: "whole" });
    content.willWrite(start, start + 10);
    expect(content.didHashEnd(range)).toBe(isRight);
  }
});

test("the end of a range is not given out while a write to it is under way", () => {
  const content = begin();
  write(content, 0, 2.5 * MIB);
  step(content);
  const change = content.willWrite(2.4 * MIB, 2.5 * MIB);
  expect(content.nextEnd(byteRange(0, 2.5 * MIB))).toBeUndefined();
  content.didWrite(change);
  expect(content.nextEnd(byteRange(0, 2.5 * MIB))).toBeDefined();
});

test("a file that is emptied begins anew, also while it is hashed", () => {
  const content = begin();
  write(content, 0, partBytes);
  content.nextStep();
  content.didCut(0);
  content.didHash(leaves(4), linear);
  expect(content.isSpent).toBe(true);
  write(content, 0, partBytes);
  expect(content.nextStep()).toMatchObject({ first: 0, wholeIntact: true });
  content.didHash(leaves(4), undefined);
  expect(content.partHash(byteRange(0, partBytes))).toBeUndefined();
});

test("hashing that is far behind the writer goes on with the part that is being written", () => {
  const content = begin();
  write(content, 0, 301 * MIB);
  expect(step(content)).toMatchObject({ first: 300, end: 301, wholeIntact: false });
});
