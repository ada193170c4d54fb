import { expect, test, vi } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { ServiceError } from "../../src/domain/errors.js";
import { deferred } from "../../src/lib/deferred.js";
import { testBytes } from "../support/test-bytes.js";
import { appending, caller, reading, rewriting, TestVault, vault, writing } from "../support/test-file-system.js";

const later = { seconds: 2_000_000_000, nanoseconds: 123_456_789 };

test("a closed file is uploaded after the settle time, and reads the same before and after", async () => {
  await using it = await TestVault.create();
  await it.write("a", "hello");
  expect(it.state("a")).toBe("staged");
  expect(await it.text("a")).toBe("hello");
  await it.clock.advance(1900);
  expect(it.service.calls.uploadArchive).toBe(0);
  await it.archiveAll();
  expect(it.state("a")).toBe("cached");
  expect(await it.text("a")).toBe("hello");
  expect(it.archived()).toEqual(["hello"]);
});

test("writes anywhere, holes, cuts and appends make the file that POSIX says", async () => {
  await using it = await TestVault.create();
  const handle = await it.open("a", writing);
  const bytes = testBytes(3 * MIB);
  await it.pwrite(handle, MIB, bytes.subarray(MIB));
  expect((await it.pread(handle, 0, 10)).equals(Buffer.alloc(10))).toBe(true);
  await it.pwrite(handle, 0, bytes.subarray(0, MIB));
  await it.fs.setAttributes(it.ino("a"), { sizeBytes: 2 * MIB });
  await it.fs.setAttributes(it.ino("a"), { sizeBytes: 2 * MIB + 5 });
  await it.close(handle);
  const more = await it.open("a", appending);
  await it.pwrite(more, 0, Buffer.from("end"));
  await it.close(more);
  const expected = Buffer.concat([bytes.subarray(0, 2 * MIB), Buffer.alloc(5), Buffer.from("end")]);
  expect((await it.read("a")).equals(expected)).toBe(true);
  await it.archiveAll();
  expect(it.service.archivesOf(vault)[0]!.bytes.equals(expected)).toBe(true);
});

test("a read beyond the end is empty, and one across it is short", async () => {
  await using it = await TestVault.create();
  await it.write("a", "12345");
  const handle = await it.open("a", reading);
  expect((await it.pread(handle, 3, 10)).toString()).toBe("45");
  expect((await it.pread(handle, 5, 10)).length).toBe(0);
  await it.close(handle);
});

test("a handle that is not open for writing does not write, and a closed one does nothing", async () => {
  await using it = await TestVault.create();
  await it.write("a", "1");
  const handle = await it.open("a", reading);
  await expect(it.pwrite(handle, 0, Buffer.from("2"))).rejects.toMatchObject({ kind: "bad-handle" });
  await it.close(handle);
  await expect(it.pread(handle, 0, 1)).rejects.toMatchObject({ kind: "bad-handle" });
});

test("an empty file has no archive, and an emptied one loses it", async () => {
  await using it = await TestVault.create();
  await it.write("a", "");
  await it.archiveAll();
  expect(it.archived()).toEqual([]);
  expect(it.record("a").content).toBeNull();
  await it.writeArchived("b", "text");
  await it.write("b", "");
  await it.archiveAll();
  expect(it.archived()).toEqual([]);
  expect(it.stat("b")).toMatchObject({ sizeBytes: 0, blocks: 0 });
});

test("size and mtime of an open file are those of its last write; a time that was set stays until the next", async () => {
  await using it = await TestVault.create();
  const handle = await it.open("a", writing);
  await it.clock.advance(5000);
  await it.pwrite(handle, 0, Buffer.from("12345"));
  expect(it.stat("a").sizeBytes).toBe(5);
  const written = it.stat("a").mtime;
  expect(written.seconds * 1000).toBe(it.clock.now());
  await it.fs.setAttributes(it.ino("a"), { mtime: later });
  expect(it.stat("a").mtime).toEqual(later);
  await it.close(handle);
  expect(it.stat("a").mtime).toEqual(later);
  const again = await it.open("a", writing);
  await it.pwrite(again, 0, Buffer.from("x"));
  expect(it.stat("a").mtime.seconds).toBeLessThan(later.seconds);
  await it.close(again);
});

test("a file that is written again while it settles is uploaded once, as it is in the end", async () => {
  await using it = await TestVault.create();
  await it.write("a", "first");
  await it.clock.advance(1000);
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("F"));
  await it.clock.advance(5000);
  expect(it.service.calls.uploadArchive).toBe(0);
  await it.close(handle);
  await it.write("a", "second");
  await it.archiveAll();
  expect(it.archived()).toEqual(["second"]);
  expect(it.service.calls.uploadArchive).toBe(1);
});

test("a file that is written while it uploads becomes a next version; the first is uploaded as it was, then replaced", async () => {
  await using it = await TestVault.create();
  await it.write("a", "first version");
  const gate = deferred<void>();
  it.service.onCall = (operation) => (operation === "uploadArchive" ? gate.promise : undefined);
  await it.until(() => it.record("a").content?.phase === "claimed" && it.service.calls.uploadArchive === 1);
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("FIRST"));
  gate.resolve();
  await it.until(() => it.archived().length === 1);
  expect(it.archived()).toEqual(["first version"]);
  // The late confirmation changes nothing about the version that is written.
  expect(it.record("a").content).toMatchObject({ phase: "writing", version: 2, archive: null });
  expect((await it.pread(handle, 0, 100)).toString()).toBe("FIRST version");
  await it.pwrite(handle, 6, Buffer.from("VERSION"));
  await it.close(handle);
  await it.archiveAll();
  expect(it.archived()).toEqual(["FIRST VERSION"]);
  expect(await it.text("a")).toBe("FIRST VERSION");
});

test("a rewrite of an archived file keeps the old archive until the new one is confirmed", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "old");
  it.service.onCall = (operation) => {
    if (operation === "deleteArchive") expect(it.archived()).toContain("new");
  };
  await it.write("a", "new");
  expect(it.archived()).toEqual(["old"]);
  await it.archiveAll();
  expect(it.archived()).toEqual(["new"]);
  expect(it.record("a").content).toMatchObject({ version: 2 });
});

test("in-place writing of an archived file copies it first, also when it was evicted while open", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", testBytes(2 * MIB));
  const reader = await it.open("a", reading);
  const writer = await it.open("a", writing);
  await it.cache.drop(it.record("a").content!.archive!);
  await it.pwrite(writer, 5, Buffer.from("xyz"));
  expect((await it.pread(reader, 4, 5)).toString("latin1")).toBe("\u0004xyz\u0008");
  await it.close(writer);
  await it.close(reader);
  await it.archiveAll();
  const expected = testBytes(2 * MIB);
  expected.write("xyz", 5);
  expect((await it.read("a")).equals(expected)).toBe(true);
});

test("truncate(2) uploads the file also when only readers have it open", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "long text");
  const reader = await it.open("a", reading);
  await it.fs.setAttributes(it.ino("a"), { sizeBytes: 4 });
  await it.archiveAll();
  expect(it.archived()).toEqual(["long"]);
  expect((await it.pread(reader, 0, 100)).toString()).toBe("long");
  await it.close(reader);
});

test("truncate(2) to the size that a file has changes nothing, and recalls nothing", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "text");
  await it.evict("a");
  await it.fs.setAttributes(it.ino("a"), { sizeBytes: 4 });
  await it.archiveAll();
  expect(it.service.calls.uploadArchive).toBe(1);
  expect(it.state("a")).toBe("archived");
});

test("truncate(2) of a file that nobody has open cuts and extends it", async () => {
  await using it = await TestVault.create();
  await it.write("a", "long text");
  await it.fs.setAttributes(it.ino("a"), { sizeBytes: 4 });
  await it.fs.setAttributes(it.ino("a"), { sizeBytes: 6 });
  expect(await it.text("a")).toBe("long\0\0");
  await it.fs.setAttributes(it.ino("a"), { sizeBytes: 0 });
  await it.archiveAll();
  expect(it.archived()).toEqual([]);
});

test("fallocate never cuts what is written at the same time", async () => {
  await using it = await TestVault.create();
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("1"));
  const bytes = testBytes(MIB);
  await Promise.all([it.fs.contents.extend(handle, { start: 0, end: 1000 }, caller), it.pwrite(handle, 0, bytes)]);
  expect(it.stat("a").sizeBytes).toBe(MIB);
  await it.fs.contents.extend(handle, { start: 0, end: MIB + 3 }, caller);
  await it.close(handle);
  expect((await it.read("a")).equals(Buffer.concat([bytes, Buffer.alloc(3)]))).toBe(true);
});

test("an unlinked file is read and written by who has it open, and leaves nothing behind", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "text");
  const ino = it.ino("a");
  const handle = await it.open("a", writing);
  await it.unlink("a");
  expect((await it.pread(handle, 0, 10)).toString()).toBe("text");
  await it.pwrite(handle, 4, Buffer.from(" and more"));
  expect((await it.pread(handle, 0, 20)).toString()).toBe("text and more");
  await it.close(handle);
  await it.fs.forget(ino);
  await it.archiveAll();
  expect(it.archived()).toEqual([]);
  expect(await it.staging.list()).toEqual([]);
  expect(it.cache.usage().contents).toBe(0);
  expect(it.catalog.inode(ino)).toBeUndefined();
});

test("a FORGET that overtakes the RELEASE does no harm", async () => {
  await using it = await TestVault.create();
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("text"));
  const ino = it.ino("a");
  await it.unlink("a");
  await it.flush(handle);
  await it.fs.forget(ino);
  await it.fs.release(handle);
  expect(await it.staging.list()).toEqual([]);
  expect(it.fs.contents.handles.counts()).toEqual({ files: 0, handles: 0 });
});

test("a file that another was renamed over stays readable by who has it open, and goes after its successor is archived", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "old");
  const handle = await it.open("a", reading);
  await it.write("a.tmp", "new");
  await it.rename("a.tmp", "a");
  expect((await it.pread(handle, 0, 10)).toString()).toBe("old");
  expect(it.archived()).toEqual(["old"]);
  await it.archiveAll();
  await it.close(handle);
  await it.archiveAll();
  expect(it.archived()).toEqual(["new"]);
  expect(await it.text("a")).toBe("new");
});

test("a successor that is archived before the replaced file is closed is not waited for", async () => {
  await using it = await TestVault.create();
  await it.write("a", "never archived before it is replaced");
  const gate = deferred<void>();
  it.service.onCall = (operation, [, archive]) =>
    operation === "uploadArchive" && (archive as { sizeBytes: number }).sizeBytes > 10 ? gate.promise : undefined;
  await it.until(() => it.service.calls.uploadArchive === 1);
  const reader = await it.open("a", reading);
  await it.write("b", "new");
  await it.rename("b", "a");
  await it.until(() => it.record("a").content?.phase === "archived");
  gate.resolve();
  await it.until(() => it.archived().length === 2);
  await it.close(reader);
  await it.archiveAll();
  expect(it.archived()).toEqual(["new"]);
  expect(it.catalog.hasPendingDeletes(vault)).toBe(false);
});

test("hard links share bytes; the archive goes with the last name", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "shared");
  await it.fs.link(it.ino("a"), it.place("b"));
  expect(it.stat("a").nlink).toBe(2);
  await it.write("b", "changed");
  expect(await it.text("a")).toBe("changed");
  await it.unlink("a");
  await it.archiveAll();
  expect(it.archived()).toEqual(["changed"]);
  await it.unlink("b");
  await it.archiveAll();
  expect(it.archived()).toEqual([]);
});

test("handles are released in any order; the last writer seals, a later reader still reads", async () => {
  await using it = await TestVault.create();
  const first = await it.open("a", writing);
  const second = await it.open("a", writing);
  const reader = await it.open("a", reading);
  await it.pwrite(first, 0, Buffer.from("1"));
  await it.close(first);
  expect(it.record("a").content?.phase).toBe("writing");
  await it.pwrite(second, 1, Buffer.from("2"));
  await it.close(second);
  expect(it.record("a").content?.phase).toBe("sealed");
  expect((await it.pread(reader, 0, 5)).toString()).toBe("12");
  await it.archiveAll();
  expect((await it.pread(reader, 0, 5)).toString()).toBe("12");
  await it.close(reader);
  expect(it.archived()).toEqual(["12"]);
});

test("O_TRUNC needs neither the old bytes nor a recall", async () => {
  await using it = await TestVault.create();
  await it.writeCold("a", "cold");
  await it.writeArchived("a", "warm");
  expect(it.service.calls.initiateJob).toBe(0);
  expect(it.archived()).toEqual(["warm"]);
});

test("versions count on after a file was empty: in a fresh catalog the highest is the file", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "one");
  await it.write("a", "");
  await it.write("a", "two");
  expect(it.record("a").content!.version).toBeGreaterThan(2);
});

test("what a write that failed half-way left behind the end is not part of the file", async () => {
  await using it = await TestVault.create();
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("whole"));
  const file = it.fs.contents.handles.handle(handle).open.file!;
  const write = file.write.bind(file);
  vi.spyOn(file, "write").mockImplementationOnce(async (offset, data) => {
    await write(offset, data.subarray(0, 3));
    throw new Error("The disk is full after some of the bytes");
  });
  await expect(it.pwrite(handle, 5, Buffer.from("half"))).rejects.toThrow("after some of the bytes");
  await it.close(handle);
  await it.archiveAll();
  expect(it.archived()).toEqual(["whole"]);
});

test("what a write left behind the end that met a close(), and then failed, is not part of the file", async () => {
  await using it = await TestVault.create();
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("whole"));
  const { open } = it.fs.contents.handles.handle(handle);
  const content = open.content!;
  const file = open.file!;
  const write = file.write.bind(file);
  vi.spyOn(file, "write").mockImplementationOnce(async (offset, data) => {
    // The close() of another handle has cut and sealed it by now.
    await it.catalog.mutate(() => it.catalog.updateContent(content.id, { phase: "sealed" }));
    Object.assign(open, { content: { ...content, phase: "sealed" }, promised: true });
    await write(offset, data);
  });
  vi.spyOn(it.catalog, "updateContent").mockImplementation((id, changes) => {
    if (changes.flushed === false) throw new Error("The disk of the catalog is full");
    it.catalog.contents.update(id, changes);
  });
  await expect(it.pwrite(handle, 5, Buffer.from("half"))).rejects.toThrow("of the catalog is full");
  await it.close(handle);
  await it.archiveAll();
  expect(it.archived()).toEqual(["whole"]);
});

test("with --commit archived close() returns when the service has confirmed the bytes, for every handle that wrote", async () => {
  await using it = await TestVault.create({ settings: { commit: "archived" } });
  const gate = deferred<void>();
  it.service.onCall = (operation) => (operation === "uploadArchive" ? gate.promise : undefined);
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("text"));
  let returned = 0;
  const first = it.flush(handle).then(() => returned++);
  await it.until(() => it.service.calls.uploadArchive === 1);
  const second = it.flush(handle).then(() => returned++);
  await it.clock.advance(1000);
  expect(returned).toBe(0);
  gate.resolve();
  await Promise.all([first, second]);
  expect(it.archived()).toEqual(["text"]);
  await it.flush(handle);
  await it.fs.release(handle);
});

test("an interrupted close() with --commit archived leaves the upload running", async () => {
  await using it = await TestVault.create({ settings: { commit: "archived" } });
  const gate = deferred<void>();
  it.service.onCall = (operation) => (operation === "uploadArchive" ? gate.promise : undefined);
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("text"));
  const interrupt = new AbortController();
  const flushed = it.flush(handle, interrupt.signal);
  await it.until(() => it.service.calls.uploadArchive === 1);
  interrupt.abort(new Error("EINTR"));
  await expect(flushed).rejects.toThrow("EINTR");
  gate.resolve();
  await it.fs.release(handle);
  await it.archiveAll();
  expect(it.archived()).toEqual(["text"]);
});

test("bytes written while another handle's close() finds the file empty are kept", async () => {
  await using it = await TestVault.create({ settings: { commit: "archived" } });
  const writer = await it.open("a", writing);
  const other = await it.open("a", writing);
  await it.pwrite(writer, 0, Buffer.from("x"));
  await it.fs.setAttributes(it.ino("a"), { sizeBytes: 0 });
  const flushing = it.flush(other);
  await Promise.resolve();
  await it.pwrite(writer, 0, Buffer.from("text"));
  await flushing;
  await it.fs.release(other);
  await it.close(writer);
  await it.archiveAll();
  expect(it.archived()).toEqual(["text"]);
  expect(await it.text("a")).toBe("text");
});

test("bytes written while another handle's close() seals the file are in it in the end", async () => {
  await using it = await TestVault.create({ settings: { commit: "archived" } });
  const writer = await it.open("a", writing);
  const other = await it.open("a", writing);
  await it.pwrite(writer, 0, testBytes(100));
  const large = testBytes(4 * MIB, 7);
  const flushing = it.flush(other);
  const write = it.pwrite(writer, 50, large);
  await Promise.all([flushing, write]);
  await it.close(other);
  await it.close(writer);
  await it.archiveAll();
  const expected = Buffer.concat([testBytes(50), large]);
  expect((await it.read("a")).equals(expected)).toBe(true);
  expect(it.service.archivesOf(vault).map(({ bytes }) => bytes.equals(expected))).toEqual([true]);
});

test("an upload that fails leaves the file readable and is tried again", async () => {
  await using it = await TestVault.create();
  it.service.fail({ operation: "uploadArchive", error: new ServiceError("unavailable", "not now"), times: 2 });
  await it.write("a", "text");
  expect(await it.text("a")).toBe("text");
  await it.archiveAll();
  it.service.expectAllFaultsHit();
  expect(it.archived()).toEqual(["text"]);
});

test("opening a directory, a link or a FIFO as a file fails", async () => {
  await using it = await TestVault.create();
  await it.mkdir("d");
  await it.fs.symlink(it.place("l"), "target", caller);
  await it.fs.makeNode(it.place("f"), 0o010644, 0, caller);
  await expect(it.open("d", reading)).rejects.toMatchObject({ kind: "is-a-directory" });
  await expect(it.open("l", reading)).rejects.toMatchObject({ kind: "loop" });
  await expect(it.open("f", reading)).rejects.toMatchObject({ kind: "not-supported" });
  await expect(it.fs.setAttributes(it.ino("d"), { sizeBytes: 1 })).rejects.toMatchObject({ kind: "is-a-directory" });
  await expect(it.open("l", rewriting)).rejects.toMatchObject({ kind: "loop" });
});
