import { expect, test } from "vitest";
import { ServiceError } from "../../src/domain/errors.js";
import type { CasfsEvent } from "../../src/domain/events.js";
import { vaultName } from "../../src/domain/ids.js";
import { InventorySync, type InventorySyncOptions } from "../../src/restore/inventory-sync.js";
import { JobPoller } from "../../src/restore/job-poller.js";
import { FakeClock, settled } from "../support/fake-clock.js";
import { MemoryCasService } from "../support/memory-cas-service.js";
import { MemoryInventoryCatalog, SimulatedCrash } from "../support/memory-journals.js";
import { newArchive, testBytes } from "../support/test-bytes.js";

const vault = vaultName("photos");

async function fixture({ archives = 0, autoAdvance = true } = {}) {
  const clock = new FakeClock({ autoAdvance });
  const service = new MemoryCasService({ clock, retrievalMs: { inventory: 1000 } });
  const catalog = new MemoryInventoryCatalog();
  const events: CasfsEvent[] = [];
  const observer = (event: CasfsEvent) => void events.push(event);
  await service.createVault(vault);
  for (let index = 0; index < archives; index++) {
    await service.uploadArchive(vault, newArchive(testBytes(1 + (index % 50)), `file ${index}`));
  }
  const sync = (options?: InventorySyncOptions) => {
    catalog.crash.restart();
    const poller = new JobPoller({ service, clock, observer });
    return new InventorySync({ service, catalog, poller, clock, random: () => 0.5, observer }, options);
  };
  const descriptions = () =>
    catalog.merged
      .at(-1)
      ?.entries.map(({ description }) => description)
      .sort();
  const expected = Array.from({ length: archives }, (_, index) => `file ${index}`).sort();
  return { clock, service, catalog, events, sync, descriptions, expected };
}

test("an inventory is merged whole, in batches, dated by the service's clock", async () => {
  const { service, catalog, events, sync, descriptions, expected, clock } = await fixture({ archives: 250 });
  const before = clock.now();
  expect(await sync({ batchSize: 100 }).refresh(vault)).toEqual({ archives: 250 });
  expect(descriptions()).toEqual(expected);
  expect(catalog.largestBatch).toBe(100);
  expect(catalog.merged[0]!.date).toBe(before);
  expect(service.calls.initiateJob).toBe(1);
  expect(catalog.inventoryJob(vault)).toBeNull();
  expect(events.map(({ type }) => type)).toEqual(["inventory-started", "inventory-merged"]);
});

test("an empty vault has an empty inventory", async () => {
  const { sync } = await fixture();
  expect(await sync().refresh(vault)).toEqual({ archives: 0 });
});

test("what one job leaves over is fetched by further jobs before anything is merged", async () => {
  const { service, catalog, sync, descriptions, expected } = await fixture({ archives: 95 });
  await sync({ jobLimit: 20 }).refresh(vault);
  expect(descriptions()).toEqual(expected);
  expect(service.calls.initiateJob).toBe(5);
  expect(catalog.merged).toHaveLength(1);
});

test("callers at the same time share one inventory, and one that gives up leaves it to the others", async () => {
  const { service, sync, clock } = await fixture({ archives: 3, autoAdvance: false });
  const inventory = sync();
  const controller = new AbortController();
  const impatient = inventory.refresh(vault, { signal: controller.signal });
  const patient = inventory.refresh(vault);
  await settled();
  controller.abort(new Error("no patience"));
  await expect(impatient).rejects.toThrow("no patience");
  await clock.advance(5000);
  expect(await patient).toEqual({ archives: 3 });
  expect(service.calls.initiateJob).toBe(1);
});

test.each(["didRequestInventory", "merge"])(
  "after a crash following %s the next process is complete with one job",
  async (step) => {
    const { service, catalog, sync, descriptions, expected } = await fixture({ archives: 10 });
    const first = sync();
    catalog.crash.crashAfter(step);
    await expect(first.refresh(vault)).rejects.toThrow(SimulatedCrash);
    if (step === "merge") expect(catalog.merged).toHaveLength(1);
    else await sync().refresh(vault);
    expect(descriptions()).toEqual(expected);
    expect(service.calls.initiateJob).toBe(1);
  },
);

test("a running inventory of ours is joined, one that somebody may have limited is not", async () => {
  const { service, sync, clock } = await fixture({ archives: 3, autoAdvance: false });
  await service.initiateJob(vault, { action: "retrieve-inventory", format: "json", description: "last week only" });
  await service.initiateJob(vault, { action: "retrieve-inventory", format: "csv", description: "casfs inventory" });
  const refreshed = sync().refresh(vault);
  await settled();
  expect(service.calls.initiateJob).toBe(3);
  const elsewhere = sync().refresh(vault);
  await clock.advance(5000);
  await Promise.all([refreshed, elsewhere]);
  expect(service.calls.initiateJob).toBe(3);
});

test("a lost answer to Initiate Job makes no second job", async () => {
  const { service, sync } = await fixture({ archives: 3 });
  service.fail({ operation: "initiateJob", error: new ServiceError("timeout", "No answer"), when: "after" });
  await sync().refresh(vault);
  expect(service.calls.initiateJob).toBe(1);
});

test("a download that breaks off is taken up behind what was read", async () => {
  const { service, sync, descriptions, expected } = await fixture({ archives: 2000 });
  let downloads = 0;
  service.transformOutput = async function* (body) {
    downloads += 1;
    let chunks = 0;
    for await (const chunk of body) {
      if (downloads < 3 && ++chunks === downloads + 2) {
        if (downloads === 1) throw new ServiceError("connection", "Reset");
        return; // Cut short, without an error.
      }
      yield chunk;
    }
  };
  await sync({ batchSize: 100 }).refresh(vault);
  expect(downloads).toBe(3);
  expect(descriptions()).toEqual(expected);
});

test("an output that is no inventory fails, and nothing of it is merged", async () => {
  const { service, catalog, events, sync } = await fixture({ archives: 3 });
  service.transformOutput = async function* (body) {
    for await (const chunk of body) yield Buffer.alloc(chunk.length, "x");
  };
  await expect(sync().refresh(vault)).rejects.toThrow();
  expect(catalog.merged).toEqual([]);
  expect(catalog.discarded).toBe(1);
  expect(catalog.failures.has(vault)).toBe(true);
  expect(events.at(-1)).toMatchObject({ type: "inventory-failed", vault });
});

test("a journaled job that failed meanwhile is replaced", async () => {
  const { service, catalog, sync, descriptions, expected } = await fixture({ archives: 3 });
  const job = await service.initiateJob(vault, { action: "retrieve-inventory", format: "json" });
  await catalog.didRequestInventory(vault, job);
  service.failJob(vault, job, "The library burns");
  await sync().refresh(vault);
  expect(descriptions()).toEqual(expected);
});

test("closing keeps the journaled job for the next process", async () => {
  const { service, catalog, sync, clock } = await fixture({ archives: 3, autoAdvance: false });
  const inventory = sync();
  const waiting = inventory.refresh(vault);
  await settled();
  await inventory.close();
  await expect(waiting).rejects.toMatchObject({ kind: "cancelled" });
  expect(catalog.failures.size).toBe(0);
  const again = sync().refresh(vault);
  await clock.advance(5000);
  expect(await again).toEqual({ archives: 3 });
  expect(service.calls.initiateJob).toBe(1);
});

test("a failure that nobody waits for is no unhandled rejection", async () => {
  const { service, sync, events } = await fixture();
  await service.deleteVault(vault);
  const controller = new AbortController();
  const waiting = sync().refresh(vault, { signal: controller.signal });
  controller.abort(new Error("gone"));
  await expect(waiting).rejects.toThrow();
  for (let turn = 0; turn < 20; turn++) await settled();
  expect(events.at(-1)).toMatchObject({ type: "inventory-failed" });
});
