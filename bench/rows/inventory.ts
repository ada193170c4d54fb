/** A vault of a million archives, listed to its end by the SDK; one listing gives three figures. */

import { MIB } from "../../src/domain/bytes.js";
import { seedService } from "../../test/support/seeded-service.js";
import { report } from "../command.js";
import type { Report } from "../programs/measured.js";
import type { Bench, Row, Target } from "../row.js";
import { access, serviceData, startService } from "../server.js";

const archives = 1_000_000;

interface Listing {
  readonly ms: number;
  readonly clientPeakBytes: number;
  readonly serverPeakBytes: number;
}

export const inventoryRows: readonly Row[] = [
  inventoryRow("time", { kind: "duration", atMostMs: 20_000 }, ({ ms }) => ms),
  inventoryRow("server-memory", { kind: "memory", atMostBytes: 300 * MIB }, ({ serverPeakBytes }) => serverPeakBytes),
  inventoryRow("client-memory", { kind: "memory", atMostBytes: 200 * MIB }, ({ clientPeakBytes }) => clientPeakBytes),
];

function inventoryRow(what: string, target: Target, figure: (listing: Listing) => number): Row {
  return {
    name: `sdk-inventory-1m-${what}`,
    work: `inventory of 1,000,000 archives, SDK: ${what.replace("-", "'s ")}`,
    reference: null,
    rounds: 1,
    target,
    slow: true,
    prepare: async (bench) => ({ casfs: { round: async () => figure(await listingOf(bench)) }, reference: null }),
  };
}

const listings = new WeakMap<Bench, Promise<Listing>>();

function listingOf(bench: Bench): Promise<Listing> {
  const known = listings.get(bench) ?? list(bench);
  listings.set(bench, known);
  return known;
}

async function list(bench: Bench): Promise<Listing> {
  const place = bench.place("inventory");
  await seedService(serviceData(place), { vault: "bench", archives, account: access.appId });
  const server = await startService(place);
  const { ms, peakBytes } = report<Report>("sdk-client", "inventory", server.url, archives);
  const listing = { ms, clientPeakBytes: peakBytes, serverPeakBytes: server.peakBytes() };
  await server.close();
  return listing;
}
