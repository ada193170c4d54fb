/** A mount of a vault with a million archives in one directory, from its first inventory on; one life gives four figures. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { MIB } from "../../src/domain/bytes.js";
import { seedService } from "../../test/support/seeded-service.js";
import { timed, until } from "../command.js";
import { peakBytes, residentBytes } from "../memory.js";
import type { Bench, Row, Target } from "../row.js";
import { access, serviceData, serviceOptions, startService } from "../server.js";
import { mountCasfs } from "../subject.js";

const archives = 1_000_000;
const inventoryWithinMs = 600_000;
const idleMs = 5000;

interface Life {
  readonly inventoryMs: number;
  readonly inventoryPeakBytes: number;
  readonly idleBytes: number;
  readonly listingPeakBytes: number;
}

export const millionRows: readonly Row[] = [
  row("time", "inventory of 1,000,000 archives into the catalog", durationOf(20_000), (life) => life.inventoryMs),
  row("memory", "memory of that mount meanwhile, at most", bytesOf(300), (life) => life.inventoryPeakBytes),
  row("idle-memory", "memory of a mount with 1,000,000 archives, idle", bytesOf(200), (life) => life.idleBytes),
  row("listing-memory", "the same while `ls -l` lists them, at most", bytesOf(400), (life) => life.listingPeakBytes),
];

function durationOf(atMostMs: number): Target {
  return { kind: "duration", atMostMs };
}

function bytesOf(mebibytes: number): Target {
  return { kind: "memory", atMostBytes: mebibytes * MIB };
}

function row(what: string, work: string, target: Target, figure: (life: Life) => number): Row {
  return {
    ...{ name: `mount-1m-${what}`, work, reference: null, rounds: 1, target, slow: true },
    prepare: async (bench) => ({ casfs: { round: async () => figure(await lifeOf(bench)) }, reference: null }),
  };
}

const lives = new WeakMap<Bench, Promise<Life>>();

function lifeOf(bench: Bench): Promise<Life> {
  const known = lives.get(bench) ?? live(bench);
  lives.set(bench, known);
  return known;
}

async function live(bench: Bench): Promise<Life> {
  const place = bench.place("million");
  const describe = (index: number) => {
    const id = index.toString(16).padStart(32, "0");
    return `casfs/1 all/file-${index}?mode=644&mtime=1700000000.000000000&uid=1000&gid=1000&id=${id}&v=1&w=00000000000000aa`;
  };
  await seedService(serviceData(place), { vault: "bench", archives, account: access.appId, describe });
  const service = await startService(place);
  const began = performance.now();
  const mount = await mountCasfs(place, serviceOptions(service.url));
  const all = join(mount.root, "all");
  // Until the inventory has landed the vault cannot be looked into.
  await until(() => existsSync(all), { withinMs: inventoryWithinMs, what: () => "the inventory has not landed" });
  const inventory = { inventoryMs: performance.now() - began, inventoryPeakBytes: peakBytes(mount.pid) };
  await mount.close();
  const later = await mountCasfs(place, serviceOptions(service.url));
  await sleep(idleMs);
  const idleBytes = residentBytes(later.pid);
  timed("ls", ["-l", all]);
  const listingPeakBytes = peakBytes(later.pid);
  await later.close();
  await service.close();
  return { ...inventory, idleBytes, listingPeakBytes };
}
