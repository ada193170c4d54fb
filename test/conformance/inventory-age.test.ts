/** Inventories are snapshots that may be a day old (6.2, 12.1). */

import { expect, test } from "vitest";
import { testBytes } from "../support/test-bytes.js";
import { hour, World } from "./support/world.js";

test("12.1 with a period of a day, archives uploaded since the last snapshot are missing until the next one", async () => {
  await using world = await World.start({ inventoryIntervalMs: 24 * hour });
  const { wire } = world;
  const vault = await world.vault();
  const inventory = async () => {
    const job = await wire.startJob(vault, { Type: "inventory-retrieval" });
    await world.finishJobs();
    const json = (await wire.get(`/-/vaults/${vault}/jobs/${job}/output`)).json();
    const ids: string[] = json.ArchiveList.map((entry: { ArchiveId: string }) => entry.ArchiveId);
    return { ids: ids.sort(), date: json.InventoryDate as string };
  };
  const first = await wire.upload(vault, testBytes(1));
  // Row 35: before any snapshot one is taken at that moment.
  const early = await inventory();
  expect(early.ids).toEqual([first]);
  const second = await wire.upload(vault, testBytes(2));
  expect(await inventory()).toEqual(early);
  expect((await wire.get(`/-/vaults/${vault}`)).json()).toMatchObject({
    NumberOfArchives: 1,
    SizeInBytes: 1,
    LastInventoryDate: early.date,
  });
  await world.server.clock.advance(24 * hour);
  expect((await inventory()).ids).toEqual([first, second].sort());
  expect((await wire.get(`/-/vaults/${vault}`)).json()).toMatchObject({ NumberOfArchives: 2, SizeInBytes: 3 });
});
