import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadMountConfig, loadServiceConfig } from "../../src/config/load-config.js";
import { publishedPrices } from "../../src/protocol/prices.js";

let home: string;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "casfs-prices-"));
});
afterEach(() => rm(home, { recursive: true }));

async function sourcesWith(content: string) {
  const config = join(home, "casfs.toml");
  await writeFile(config, content);
  return { flags: { config }, environment: {}, home, currentDirectory: home };
}

test("without [prices] the published ones hold", async () => {
  const config = await loadMountConfig(await sourcesWith('tier = "bulk"\n'));
  expect(config.prices).toEqual(publishedPrices);
  expect(config.tier).toBe("bulk");
});

test("what [prices] names replaces the published price, for mounts and commands alike", async () => {
  const text = '[prices]\ncurrency = "USD"\nstandard = 0.01\nstorage = "0.0045"\ntraffic-out = 0\nminimum-days = 180\n';
  const sources = await sourcesWith(text);
  const prices = {
    ...publishedPrices,
    currency: "USD",
    storagePerGbAndMonth: 0.0045,
    retrievalPerGb: { ...publishedPrices.retrievalPerGb, standard: 0.01 },
    trafficOutPerGb: 0,
    minimumStorageDays: 180,
  };
  expect((await loadMountConfig(sources)).prices).toEqual(prices);
  expect((await loadServiceConfig(sources)).prices).toEqual(prices);
});

test.each([
  ["[prices]\nstoarge = 1\n", "stoarge"],
  ["[prices]\nstandard = -1\n", "an amount of money is a number"],
  ["prices = 3\n", "it must be a table"],
])("a mistake in %j is told with its place", async (text, reason) => {
  await expect(loadMountConfig(await sourcesWith(text))).rejects.toThrow(reason);
});
