/** The price that `casfs restore` says, while readers wait for the same bytes. */

import { expect, test } from "vitest";
import { BatchRestore, type BatchRestoreParts } from "../../src/app/batch-restore.js";
import { publishedPrices } from "../../src/protocol/prices.js";
import { RestoreFixture } from "../restore/restore-fixture.js";
import { settled } from "../support/fake-clock.js";

test("a queued recall that would end with its reader has its price; one that is ordered in any case is free", async () => {
  const fixture = await RestoreFixture.create({ autoAdvance: false });
  const archive = await fixture.archive(1);
  fixture.sink.noRoom = () => "the cache is full";
  const record = { content: { archive: archive.key }, sizeBytes: archive.sizeBytes };
  const restores = new BatchRestore({
    cache: { has: () => false },
    recalls: fixture.manager,
    coldOpens: { coldArchive: () => archive },
    paths: {
      async *files() {
        yield { path: "photos/x", record };
      },
    },
    prices: publishedPrices,
    clock: fixture.clock,
    tier: "standard",
    isLocal: false,
    partialOverBytes: null,
  } as unknown as BatchRestoreParts);
  const plans = async () => {
    const range = { start: 0, end: null };
    const asked = { paths: [["photos", "x"]], recursive: false };
    const both = await Promise.all([restores.plan(asked), restores.plan({ ...asked, range })]);
    return both.map(({ running, price }) => ({ running, isFree: price === 0 }));
  };

  const killed = new AbortController();
  fixture.manager.recall(archive, { tier: "standard", signal: killed.signal }).catch(() => undefined);
  await settled();
  const priced = { running: 0, isFree: false };
  expect(await plans()).toEqual([priced, priced]);

  fixture.manager.recall(archive, { tier: "standard", origin: "restore" }).catch(() => undefined);
  const free = { running: 1, isFree: true };
  expect(await plans()).toEqual([free, free]);
  await fixture.manager.close();
});
