/** Answers that never come, ids and parts that vanish: every file ends in the vault, once, and nothing is deleted that counts. */

import { expect, test } from "vitest";
import { ServiceError } from "../../src/domain/errors.js";
import { hours, minutes } from "../../src/domain/time.js";
import { deferred } from "../../src/lib/deferred.js";
import { TestVault, vault } from "../support/test-file-system.js";

const lost = new ServiceError("connection", "lost");
const part = 16 * 2 ** 20;
const large = Buffer.alloc(part + 1000, "large");
const inParts = { multipartThresholdBytes: 1 } as const;

async function untilSent(it: TestVault): Promise<void> {
  await it.until(() => it.archived().length > 0 && it.uploads.snapshot().every((one) => one.state === "retrying"), {
    limitMs: 30_000,
  });
}

const archiveAll = (it: TestVault) =>
  it.until(() => it.uploads.size === 0 && it.catalog.deletes.pending().length === 0, { limitMs: 30_000 });

test("an archive whose answer was lost and that an inventory shows is the file's: nothing is sent again", async () => {
  await using it = await TestVault.create();
  it.service.fail({ operation: "uploadArchive", when: "after", error: lost });
  await it.write("a", "text");
  await untilSent(it);
  await it.refreshInventory();
  await archiveAll(it);
  // At most the one attempt that was under way when the inventory came.
  expect(it.archived()).toEqual(["text"]);
  await it.evict("a");
  expect(await it.text("a")).toBe("text");
});

test("a twin that an inventory has shown before the second answer came is deleted when that comes", async () => {
  await using it = await TestVault.create();
  it.service.fail({ operation: "uploadArchive", when: "after", error: lost });
  await it.write("a", "text");
  await untilSent(it);
  const entries = it.service.archivesOf(vault);
  // While the second one is on its way.
  const second = deferred<void>();
  it.service.onCall = (operation) => (operation === "uploadArchive" ? second.promise : undefined);
  await it.until(() => it.service.calls.uploadArchive === 2);
  await it.mergeInventory(entries);
  second.resolve();
  await archiveAll(it);
  expect(it.archived()).toEqual(["text"]);
  await it.evict("a");
  expect(await it.text("a")).toBe("text");
});

test("a Complete without an answer, forgotten by the service after an hour, leaves one archive in the end", async () => {
  await using it = await TestVault.create(inParts);
  it.service.fail({ operation: "completeMultipartUpload", when: "after", error: lost });
  await it.write("a", large);
  await untilSent(it);
  // Down for longer than the service remembers.
  it.service.fail({ operation: "completeMultipartUpload", error: lost, times: 1000 });
  await it.reopen();
  await it.clock.advance(hours(2));
  it.service.forgiveFaults();
  await archiveAll(it);
  expect(it.service.archivesOf(vault)).toHaveLength(2);
  await it.refreshInventory();
  await archiveAll(it);
  expect(it.service.archivesOf(vault)).toHaveLength(1);
  await it.evict("a");
  expect((await it.read("a")).equals(large)).toBe(true);
}, 60_000);

test("an upload id that has expired is begun anew, also when that answer is lost, over a crash", async () => {
  await using it = await TestVault.create(inParts);
  it.service.fail({ operation: "uploadPart", error: lost, skip: 1, times: 1000 });
  await it.write("a", large);
  await it.until(() => it.uploads.snapshot()[0]?.state === "retrying", { limitMs: 30_000 });
  expect(it.catalog.uploads.find(it.record("a").content!.id)).toMatchObject({ progress: { step: "parts" } });
  await it.reopen();
  it.service.fail({ operation: "listParts", error: lost, times: 1000 });
  await it.clock.advance(hours(25));
  it.service.forgiveFaults();
  it.service.fail({ operation: "initiateMultipartUpload", when: "after", error: lost });
  await archiveAll(it);
  it.service.expectAllFaultsHit();
  expect(it.service.archivesOf(vault).map(({ bytes }) => bytes.equals(large))).toEqual([true]);
}, 60_000);

test("parts that vanished from the service are sent again", async () => {
  await using it = await TestVault.create(inParts);
  it.service.fail({ operation: "uploadPart", error: lost, skip: 1, times: 1000 });
  await it.write("a", large);
  await it.until(() => it.uploads.snapshot()[0]?.state === "retrying", { limitMs: 30_000 });
  it.service.loseParts(vault);
  it.service.forgiveFaults();
  await archiveAll(it);
  expect(it.service.archivesOf(vault).map(({ bytes }) => bytes.equals(large))).toEqual([true]);
}, 60_000);

test("a tombstone stays until a complete inventory made a day after the delete lacks the archive", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "text");
  const stale = it.service.archivesOf(vault);
  await it.unlink("a");
  await archiveAll(it);
  const merge = (entries: typeof stale) => it.mergeInventory(entries);
  // Made within a day, or still with the archive: it does not come back.
  await it.clock.advance(hours(23));
  await merge([]);
  await merge(stale);
  expect(it.names()).toEqual([]);
  await it.clock.advance(hours(2));
  await merge(stale);
  expect(it.names()).toEqual([]);
  await merge([]);
  // Now it is forgotten: what comes after a complete inventory without it is somebody's.
  await merge(stale);
  expect(it.names()).toEqual(["a"]);
});

test("a vault that was removed at the service: staged files stay, uploads go on when it is there again", async () => {
  await using it = await TestVault.create();
  await it.service.deleteVault(vault);
  await it.write("a", "text");
  await it.until(() => it.uploads.snapshot()[0]?.state === "retrying");
  expect(it.xattr("a", "user.casfs.error")).toContain("There is no vault photos");
  await it.reopen();
  await it.pass(minutes(30));
  expect(await it.text("a")).toBe("text");
  await it.write("b", "more");
  await it.service.createVault(vault);
  await it.clock.advance(minutes(6));
  await archiveAll(it);
  expect(it.archived()).toEqual(["more", "text"]);
});
