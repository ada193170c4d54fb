/** Upload, adopt, evict and recall with the real staging area and cache: the ports' two sides fit together. */

import { truncateSync } from "node:fs";
import { expect, test } from "vitest";
import { byteCount, MIB } from "../../src/domain/bytes.js";
import { ServiceError } from "../../src/domain/errors.js";
import { archiveId, vaultName } from "../../src/domain/ids.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { JobPoller } from "../../src/restore/job-poller.js";
import type { ColdArchive } from "../../src/restore/ports.js";
import { RestoreManager } from "../../src/restore/restore-manager.js";
import { UploadQueue } from "../../src/upload/upload-queue.js";
import { Uploader } from "../../src/upload/uploader.js";
import type { RecallRequests, UploadRequests } from "../../src/vfs/ports.js";
import { bytesOf, CacheFixture, contentId, expectBytes, key } from "../cache/cache-fixture.js";
import { CountedBudget } from "../support/counted-budget.js";
import { FakeClock } from "../support/fake-clock.js";
import { MemoryCasService } from "../support/memory-cas-service.js";
import { MemoryRestoreJournal, MemoryUploadJournal } from "../support/memory-journals.js";
import { newArchive } from "../support/test-bytes.js";

const vault = vaultName("photos");
const size = 70 * MIB + 11;

async function world() {
  const disk = await CacheFixture.create();
  const clock = new FakeClock({ autoAdvance: true });
  const service = new MemoryCasService({ clock });
  await service.createVault(vault);
  const journal = new MemoryRestoreJournal();
  const observer = () => undefined;
  const random = () => 0.5;
  const newManager = () => {
    const poller = new JobPoller({ service, clock, observer });
    return new RestoreManager(
      {
        service,
        journal,
        sink: disk.cache,
        windows: disk.partial,
        budget: new CountedBudget(),
        poller,
        clock,
        random,
        observer,
      },
      { downloadConcurrency: 1 },
    );
  };
  const store = async (bytes: Buffer): Promise<ColdArchive> => {
    const id = await service.uploadArchive(vault, newArchive(bytes));
    const { treeHash } = digestOf(bytes);
    return journal.know({ key: key(1), vault, id, sizeBytes: byteCount(bytes.length), treeHash });
  };
  return { disk, clock, service, journal, observer, random, newManager, store };
}

test("a recall that breaks off goes on with its 32 MiB pieces after a restart", async () => {
  const { disk, service, newManager, store } = await world();
  await using _disk = disk;
  const bytes = bytesOf(1, size);
  const archive = await store(bytes);
  service.fail({ operation: "getJobOutput", error: new ServiceError("denied", "No access"), skip: 1 });
  await expect(newManager().recall(archive, { tier: "standard" })).rejects.toThrow("No access");
  expect(service.bytesServed).toBe(32 * MIB);
  await disk.reopen();
  const recalls: RecallRequests = newManager();
  await recalls.recall(archive, { tier: "standard" });
  expect(service.bytesServed).toBe(size);
  expectBytes(await disk.read(1), bytes);
});

test("pieces that a power loss took back are noticed before anybody reads them", async () => {
  const { disk, service, journal, newManager, store } = await world();
  await using _disk = disk;
  const bytes = bytesOf(1, size);
  const archive = await store(bytes);
  service.fail({ operation: "getJobOutput", error: new ServiceError("denied", "No access"), skip: 2 });
  await expect(newManager().recall(archive, { tier: "standard" })).rejects.toThrow("No access");
  truncateSync(disk.layout.landing(key(1)), 40 * MIB);
  await disk.reopen();
  await newManager().recall(archive, { tier: "standard" });
  expectBytes(await disk.read(1), bytes);
  expect(journal.landed).toEqual([key(1)]);
});

test("what was staged is archived, adopted, evicted and recalled with the same bytes", async () => {
  const { disk, clock, service, journal: restoreJournal, observer, random, newManager } = await world();
  await using _disk = disk;
  const journal = new MemoryUploadJournal();
  const uploader = new Uploader(
    { service, journal, files: disk.staging, clock, observer },
    { multipartThresholdBytes: 32 * MIB, partSizeBytes: 16 * MIB, partConcurrency: 3 },
  );
  const queue = new UploadQueue({ uploader, journal, clock, random, observer }, { concurrency: 2 });
  const uploads: UploadRequests = queue;
  const bytes = bytesOf(1, size);
  await disk.stage(5, bytes);
  journal.seal(contentId(5), vault, size);
  uploads.enqueue(contentId(5), clock.now());
  await uploads.whenArchived(contentId(5), { signal: undefined });
  await disk.cache.adopt(contentId(5), key(1), size);
  expectBytes(await disk.read(1), bytes);
  expect(await disk.staging.list()).toEqual([]);

  expect(await disk.cache.evict(key(1))).toBe("evicted");
  const { archived } = journal.row(contentId(5));
  const archive = {
    key: key(1),
    vault,
    id: archiveId(archived!.archiveId),
    sizeBytes: byteCount(size),
    treeHash: archived!.treeHash,
  };
  await newManager().recall(restoreJournal.know(archive), { tier: "standard" });
  expectBytes(await disk.read(1), bytes);
  await queue.close();
});
