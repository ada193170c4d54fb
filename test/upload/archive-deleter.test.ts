import { expect, test } from "vitest";
import { ServiceError } from "../../src/domain/errors.js";
import { archiveId } from "../../src/domain/ids.js";
import { AbandonedUploads } from "../../src/upload/abandoned-uploads.js";
import { ArchiveDeleter } from "../../src/upload/archive-deleter.js";
import { settled } from "../support/fake-clock.js";
import { SimulatedCrash } from "../support/memory-journals.js";
import { newArchive, testBytes } from "../support/test-bytes.js";
import { contentId, threeParts, UploadFixture, vault } from "./upload-fixture.js";

async function fixture() {
  const base = await UploadFixture.create();
  const { service, journal, clock, observer } = base;
  const deleter = new ArchiveDeleter({ service, journal, clock, random: () => 0.5, observer });
  const store = (index: number) => service.uploadArchive(vault, newArchive(testBytes(10, index)));
  return { base, service, journal, clock, deleter, store };
}

async function quiet(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await settled();
}

test("archives that nobody wants are deleted, after the journal is safe", async () => {
  const { base, service, journal, deleter, store } = await fixture();
  for (let index = 0; index < 10; index++) journal.requestDelete(vault, await store(index));
  service.onCall = (operation) => {
    if (operation === "deleteArchive") expect(journal.flushes).toBeGreaterThan(0);
  };
  deleter.wake();
  await quiet();
  expect(service.archivesOf(vault)).toEqual([]);
  expect(journal.pendingDeletes()).toEqual([]);
  expect(base.eventsOf("archive-deleted")).toHaveLength(10);
  await deleter.close();
});

test("an archive that the service does not know is done", async () => {
  const { journal, deleter } = await fixture();
  journal.requestDelete(vault, archiveId("unknown"));
  deleter.wake();
  await quiet();
  expect(journal.pendingDeletes()).toEqual([]);
  await deleter.close();
});

test("a deletion that fails is tried again later, the others are not held up", async () => {
  const { service, journal, clock, deleter, store } = await fixture();
  journal.requestDelete(vault, await store(1));
  journal.requestDelete(vault, await store(2));
  service.fail({ operation: "deleteArchive", error: new ServiceError("unavailable", "Later") });
  deleter.wake();
  await quiet();
  expect(journal.pendingDeletes()).toMatchObject([{ attempts: 1 }]);
  await clock.advance(1500);
  await quiet();
  expect(journal.pendingDeletes()).toEqual([]);
  await deleter.close();
  expect(clock.sleepers).toBe(0);
});

test("a deletion waits until it is due, and a new one does not wait for it", async () => {
  const { service, journal, clock, deleter, store } = await fixture();
  journal.requestDelete(vault, await store(1), (clock.now() + 60_000) as never);
  deleter.wake();
  await quiet();
  expect(service.calls.deleteArchive).toBe(0);
  journal.requestDelete(vault, await store(2));
  deleter.wake();
  await quiet();
  expect(service.calls.deleteArchive).toBe(1);
  await clock.advance(60_000);
  await quiet();
  expect(service.archivesOf(vault)).toEqual([]);
  await deleter.close();
});

test("closing while it waits or deletes ends it", async () => {
  const { journal, clock, deleter, store } = await fixture();
  journal.requestDelete(vault, await store(1), (clock.now() + 60_000) as never);
  deleter.wake();
  await quiet();
  await deleter.close();
  expect(clock.sleepers).toBe(0);
  deleter.wake();
  await quiet();
  expect(clock.sleepers).toBe(0);
});

test("uploads whose content is gone are aborted, once, also when the service has forgotten them", async () => {
  const { base, service, journal } = await fixture();
  for (const content of [1, 2]) {
    base.seal(content, threeParts);
    journal.crash.crashAfter("didInitiate");
    await expect(base.upload(content)).rejects.toThrow(SimulatedCrash);
    journal.crash.restart();
    journal.forget(contentId(content));
  }
  service.fail({ operation: "abortMultipartUpload", error: new ServiceError("unavailable", "Later") });
  const abandoned = new AbandonedUploads({ service, journal, observer: base.observer, clock: base.clock });
  abandoned.wake();
  await quiet();
  expect(journal.abandoned()).toHaveLength(1);
  await base.clock.advance(300_000);
  await quiet();
  expect(journal.abandoned()).toEqual([]);
  expect((await service.listMultipartUploads(vault)).items).toEqual([]);
  expect(journal.flushes).toBe(2);
  await abandoned.close();
  expect(base.clock.sleepers).toBe(0);
});
