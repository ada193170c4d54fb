/** A time of day that is wrong by years, and is set right: nothing is deleted for it, and nothing waits for ever. */

import { expect, test } from "vitest";
import { VaultWatch } from "../../src/app/vault-watch.js";
import { ServiceError } from "../../src/domain/errors.js";
import type { VaultName } from "../../src/domain/ids.js";
import { hours, minutes } from "../../src/domain/time.js";
import { TestVault, vault } from "../support/test-file-system.js";

const day = hours(24);
const year = 365 * day;

test.each([-year, -hours(10)])(
  "what settles when the clock is set back by %s ms is uploaded within minutes",
  async (by) => {
    await using it = await TestVault.create();
    await it.write("a", "text");
    await it.pass(500);
    it.clock.jump(by);
    await it.pass(minutes(6));
    await it.until(() => it.uploads.size === 0, { stepMs: 1 });
    expect(it.archived()).toEqual(["text"]);
  },
);

test.each([-year, -hours(10)])(
  "a failed upload is tried again within minutes after the clock is set back by %s ms",
  async (by) => {
    await using it = await TestVault.create();
    it.service.fail({ operation: "uploadArchive", error: new ServiceError("denied", "no") });
    await it.write("a", "text");
    await it.until(() => it.uploads.snapshot()[0]?.state === "retrying");
    it.clock.jump(by);
    await it.pass(minutes(11));
    await it.until(() => it.uploads.size === 0, { stepMs: 1 });
    expect(it.archived()).toEqual(["text"]);
  },
);

test("what is written while the clock is years ahead is uploaded at once when it is right again, over a restart too", async () => {
  await using it = await TestVault.create();
  it.clock.jump(10 * year);
  await it.write("a", "text");
  it.clock.jump(-10 * year);
  await it.reopen();
  await it.pass(minutes(1));
  await it.until(() => it.uploads.size === 0, { stepMs: 1 });
  expect(it.archived()).toEqual(["text"]);
});

test.each([true, false])("a delete that was due years ahead is done within an hour (restart: %s)", async (restart) => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "text");
  it.clock.jump(10 * year);
  it.service.fail({ operation: "deleteArchive", error: new ServiceError("unavailable", "not now") });
  await it.unlink("a");
  await it.until(() => it.catalog.deletes.pending()[0]?.error === "not now", { stepMs: 1 });
  it.clock.jump(-10 * year);
  if (restart) await it.reopen();
  await it.pass(hours(1));
  await it.until(() => it.archived().length === 0, { stepMs: 1 });
});

test("a clock that jumps ahead by years empties no trash: the service's clock has to agree", async () => {
  await using it = await TestVault.create({ trash: true });
  await it.writeArchived("a", "text");
  await it.refreshInventory();
  await it.unlink("a");
  it.clock.jump(10 * year);
  await it.pass(hours(3));
  await it.reopen();
  await it.pass(hours(3));
  expect(it.archived()).toEqual(["text"]);
  it.clock.jump(-10 * year);
  await it.clock.advance(91 * day);
  await it.pass(hours(1));
  expect(it.archived()).toEqual(["text"]);
  await it.refreshInventory();
  await it.pass(hours(2));
  await it.until(() => it.archived().length === 0, { stepMs: 1 });
});

test("what is confirmed while the clock is years behind is not missing from inventories that are older than it", async () => {
  await using it = await TestVault.create();
  const now = it.clock.now();
  await it.mergeInventory([], now);
  it.clock.jump(-3 * year);
  await it.writeCold("a", "text");
  await it.mergeInventory([], now + hours(5));
  await it.mergeInventory([], now + hours(10));
  expect(it.state("a")).toBe("archived");
});

test("what is confirmed while the clock is years ahead can be missed when it is right again", async () => {
  await using it = await TestVault.create();
  it.clock.jump(3 * year);
  await it.writeCold("a", "text");
  it.clock.jump(-3 * year);
  for (let done = 0; done < 4; done++) {
    await it.clock.advance(day);
    await it.mergeInventory([]);
  }
  expect(it.state("a")).toBe("missing");
});

test("a delete while the clock is years behind is not forgotten by an inventory made within a day of it", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "text");
  const stale = it.service.archivesOf(vault);
  const now = it.clock.now();
  await it.mergeInventory(stale, now);
  it.clock.jump(-3 * year);
  await it.unlink("a");
  await it.until(() => it.catalog.deletes.pending().length === 0);
  await it.mergeInventory([], now + hours(1));
  await it.mergeInventory(stale, now + hours(2));
  expect(it.names()).toEqual([]);
});

test.each([5 * year, -5 * year])(
  "with a service whose clock differs by %s ms inventories are still daily",
  async (by) => {
    await using it = await TestVault.create();
    await it.mergeInventory([], it.clock.now() + by);
    const asked: VaultName[] = [];
    const watch = new VaultWatch({
      catalog: it.catalog,
      clock: it.clock,
      observer: () => undefined,
      maxAgeMs: day,
      onVaultFound: () => undefined,
      inventories: {
        refresh: async (name) => {
          asked.push(name);
          await it.mergeInventory([], it.clock.now() + by);
          return { archives: 0 };
        },
      },
    });
    watch.start(it.service);
    for (let hour = 0; hour < 240; hour++) await it.clock.advance(hours(1));
    await watch.close();
    expect(asked.length).toBeGreaterThanOrEqual(9);
    expect(asked.length).toBeLessThanOrEqual(11);
  },
);

test("a vault that the service does not list is known to be gone, once said, until it is there again", async () => {
  await using it = await TestVault.create();
  const events: string[] = [];
  const watch = new VaultWatch({
    catalog: it.catalog,
    clock: it.clock,
    observer: ({ type }) => void events.push(type),
    maxAgeMs: day,
    onVaultFound: () => undefined,
    inventories: { refresh: async () => ({ archives: 0 }) },
  });
  await watch.discover(it.service);
  expect(watch.isGone(vault)).toBe(false);
  await it.service.deleteVault(vault);
  await watch.discover(it.service);
  await watch.discover(it.service);
  expect(watch.isGone(vault)).toBe(true);
  expect(events).toEqual(["vault-missing"]);
  expect(it.catalog.vault(vault)).toBeDefined();
  await it.service.createVault(vault);
  await watch.discover(it.service);
  expect(watch.isGone(vault)).toBe(false);
});
