import { describe, expect, test } from "vitest";
import { hours } from "../../src/domain/time.js";
import { TestVault, vault, writing } from "../support/test-file-system.js";

const placeOf = (it: TestVault, name: string) => ({ parent: it.catalog.vault(vault)!.ino, name });
const rename = (it: TestVault, from: string, to: string) => it.fs.rename(placeOf(it, from), placeOf(it, to), "replace");
const uploads = (it: TestVault) => it.service.calls.uploadArchive + it.service.calls.initiateMultipartUpload;

describe.each([
  ["with", true],
  ["without", false],
])("content that is archived already, %s a trash,", (_, trash) => {
  test("is not uploaded again when the file is rewritten with it", async () => {
    await using it = await TestVault.create({ trash });
    await it.writeArchived("a", "the same");
    const [archive] = it.service.archivesOf(vault);
    for (let round = 0; round < 3; round++) {
      await it.write("a", "the same");
      await it.archiveAll();
    }
    expect(uploads(it)).toBe(1);
    expect(it.service.calls.deleteArchive).toBe(0);
    expect(it.service.archivesOf(vault)).toEqual([archive]);
    expect(it.catalog.trashTable.summary().files).toBe(0);
    expect(await it.text("a")).toBe("the same");
    expect(it.catalog.contentsOf(it.ino("a"))).toHaveLength(1);
  });

  test("is uploaded when one byte differs, in a file of the same size", async () => {
    await using it = await TestVault.create({ trash });
    await it.writeArchived("a", "the same");
    await it.write("a", "the sane");
    await it.archiveAll();
    expect(uploads(it)).toBe(2);
    expect(await it.text("a")).toBe("the sane");
  });

  test("is read back from its archive after the copy here is gone", async () => {
    await using it = await TestVault.create({ trash });
    await it.writeArchived("a", "the same");
    await it.evict("a");
    await it.write("a", "the same");
    await it.archiveAll();
    expect(it.service.calls).toMatchObject({ uploadArchive: 1, initiateJob: 0 });
    await it.evict("a");
    expect(await it.text("a")).toBe("the same");
    expect(it.service.calls.initiateJob).toBe(1);
  });

  test("keeps its pin", async () => {
    await using it = await TestVault.create({ trash });
    await it.writeArchived("a", "the same");
    const archive = it.record("a").content!.archive!;
    await it.cache.setPinned(archive, true);
    await it.write("a", "the same");
    await it.archiveAll();
    await it.reopen();
    expect(it.cache.isPinned(it.record("a").content!.archive!)).toBe(true);
  });

  test("is found in parts too, without one of them being sent", async () => {
    await using it = await TestVault.create({ trash, multipartThresholdBytes: 1024 * 1024 });
    const large = Buffer.alloc(17 * 1024 * 1024, "x");
    await it.writeArchived("a", large);
    const { uploadPart } = it.service.calls;
    await it.write("a", large);
    await it.archiveAll();
    expect(it.service.calls.uploadPart).toBe(uploadPart);
  });

  test("that went through another version in between is sent, so that the newest version of the file is the newest archive", async () => {
    await using it = await TestVault.create({ trash });
    for (const text of ["one", "two", "one"]) {
      await it.write("a", text);
      await it.archiveAll();
    }
    expect(uploads(it)).toBe(3);
    expect(await it.text("a")).toBe("one");
  });

  test("survives a crash at any moment", async () => {
    await using it = await TestVault.create({ trash });
    await it.writeArchived("a", "the same");
    const handle = await it.open("a", writing);
    await it.pwrite(handle, 0, Buffer.from("the"));
    await it.close(handle);
    await it.reopen();
    await it.archiveAll();
    await it.reopen();
    await it.clock.advance(hours(1));
    expect(it.archived()).toEqual(["the same"]);
    expect(await it.text("a")).toBe("the same");
    expect(uploads(it)).toBe(1);
  });
});

test("a file that is renamed over one with the same content takes its archive, and leaves nothing in the trash", async () => {
  await using it = await TestVault.create({ trash: true });
  await it.writeArchived("a", "the same");
  await it.write("b", "the same");
  await rename(it, "b", "a");
  expect(it.catalog.trashTable.summary().files).toBe(1);
  await it.archiveAll();
  expect(uploads(it)).toBe(1);
  expect(it.catalog.trashTable.summary().files).toBe(0);
  await it.clock.advance(hours(24 * 100));
  expect(it.archived()).toEqual(["the same"]);
  await it.evict("a");
  expect(await it.text("a")).toBe("the same");
});
