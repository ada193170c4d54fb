/** Archives that were deleted behind our back: reported after two inventories, never dropped. */

import { expect, test } from "vitest";
import { hours } from "../../src/domain/time.js";
import { TestVault, vault } from "../support/test-file-system.js";

const day = hours(24);

/** Each time a day later, a complete inventory of what the service has. */
async function inventories(it: TestVault, count: number): Promise<void> {
  for (let done = 0; done < count; done++) {
    await it.clock.advance(day);
    await it.refreshInventory();
  }
}

async function deleteBehindOurBack(it: TestVault, text: string): Promise<void> {
  const archive = it.service.archivesOf(vault).find(({ bytes }) => bytes.toString() === text)!;
  await it.service.deleteArchive(vault, archive.archiveId);
}

test("a cold file whose archive two inventories lack is missing: it stays listed, reads EIO, and says so", async () => {
  await using it = await TestVault.create();
  await it.writeCold("a", "text");
  await it.writeCold("b", "other");
  await inventories(it, 1);
  await deleteBehindOurBack(it, "text");
  await inventories(it, 1);
  expect(it.state("a")).toBe("archived");
  await inventories(it, 1);
  expect(it.state("a")).toBe("missing");
  expect(it.xattr("a", "user.casfs.error")).toContain("not in the vault any more");
  expect(it.catalog.missing.files(20)).toEqual([it.ino("a")]);
  expect(it.catalog.missing.fileCount()).toBe(1);
  const jobs = it.service.calls.initiateJob;
  await expect(it.text("a")).rejects.toMatchObject({ kind: "unavailable" });
  expect(it.service.calls.initiateJob).toBe(jobs);
  expect(it.names()).toEqual(["a", "b"]);
  expect(it.stat("a").sizeBytes).toBe(4);
  expect(await it.text("b")).toBe("other");
  expect(it.events.filter(({ type }) => type === "archives-missing")).toEqual([
    { type: "archives-missing", vault, archives: 1 },
  ]);
  await it.reopen();
  await inventories(it, 3);
  expect(it.names()).toEqual(["a", "b"]);
  expect(it.events.filter(({ type }) => type === "archives-missing")).toHaveLength(1);
});

test("the last copy of a missing archive is not evicted, and writing the file again archives it", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "text");
  await deleteBehindOurBack(it, "text");
  await inventories(it, 3);
  expect(it.state("a")).toBe("cached");
  await it.until(() => it.cache.isPinned(it.record("a").content!.archive!));
  await expect(it.evict("a")).rejects.toMatchObject({ kind: "busy" });
  expect(it.xattr("a", "user.casfs.error")).toContain("the copy here is the last one");
  expect(await it.text("a")).toBe("text");
  await it.write("a", "text");
  await it.archiveAll();
  expect(it.archived()).toEqual(["text"]);
  expect(it.catalog.missing.fileCount()).toBe(0);
});

test("an archive that an inventory shows again is not missing", async () => {
  await using it = await TestVault.create();
  await it.writeCold("a", "text");
  const all = it.service.archivesOf(vault);
  for (let done = 0; done < 3; done++) {
    await it.clock.advance(day);
    await it.mergeInventory([]);
  }
  expect(it.state("a")).toBe("missing");
  await it.clock.advance(day);
  await it.mergeInventory(all);
  expect(it.state("a")).toBe("archived");
  expect(await it.text("a")).toBe("text");
});

test("one and the same inventory, read many times, calls nothing missing; nor do two within a day of the upload", async () => {
  await using it = await TestVault.create();
  await it.writeCold("a", "text");
  const confirmed = it.clock.now();
  for (const after of [1, 2, 3, 23]) await it.mergeInventory([], confirmed + hours(after));
  expect(it.state("a")).toBe("archived");
  for (let read = 0; read < 3; read++) await it.mergeInventory([], confirmed + hours(25));
  expect(it.state("a")).toBe("archived");
  await it.mergeInventory([], confirmed + hours(24));
  expect(it.state("a")).toBe("archived");
  await it.mergeInventory([], confirmed + hours(26));
  expect(it.state("a")).toBe("missing");
});
