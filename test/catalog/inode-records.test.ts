import { expect, test } from "vitest";
import { InodeRecords } from "../../src/catalog/inode-records.js";
import type { ContentId, InodeNumber } from "../../src/domain/ids.js";
import type { InodeRecord } from "../../src/vfs/catalog-port.js";

const time = { seconds: 1, nanoseconds: 2 };
const ino = (number: number) => number as InodeNumber;
const id = (number: number) => number as ContentId;

function record(number: number, content: number | null): InodeRecord {
  return {
    ...{ ino: ino(number), vault: null, mode: 0o100644, nlink: 1, uid: 0, gid: 0, rdev: 0, sizeBytes: 0, parent: null },
    ...{ atime: time, mtime: time, ctime: time },
    content: content && { id: id(content), version: 1, phase: "writing", archive: null, interrupted: false },
  } as InodeRecord;
}

test("a change of the row is in the record, another content is read again", () => {
  const records = new InodeRecords();
  records.put(record(7, 70));
  records.changed(ino(7), { sizeBytes: 5, content: id(70) });
  expect(records.get(ino(7))).toEqual({ ...record(7, 70), sizeBytes: 5 });
  records.changed(ino(7), { content: id(71) });
  expect(records.get(ino(7))).toBeUndefined();
  records.put(record(8, 80));
  records.changed(ino(8), { content: null });
  expect(records.get(ino(8))).toBeUndefined();
});

test("a change of a content is one of the inode whose newest it is, also after it moved", () => {
  const records = new InodeRecords();
  records.put(record(7, 70));
  records.put(record(8, 80));
  records.forgetContent(id(70));
  expect([records.get(ino(7)), records.get(ino(8))]).toEqual([undefined, record(8, 80)]);
  records.put(record(9, 80));
  expect(records.get(ino(8))).toBeUndefined();
  records.forgetContent(id(80));
  expect(records.get(ino(9))).toBeUndefined();
});

test("records are bounded, and an undone change forgets all", () => {
  const records = new InodeRecords();
  for (let number = 1; number <= 2000; number++) records.put(record(number, number));
  expect([records.get(ino(1)), records.get(ino(2000))]).toEqual([undefined, record(2000, 2000)]);
  records.clear();
  expect(records.get(ino(2000))).toBeUndefined();
});
