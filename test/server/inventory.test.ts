import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testBytes } from "../support/test-bytes.js";
import { type CasClient, hashHeaders } from "./cas-client.js";
import { hour, LocalServer, startMs } from "./local-server.js";

let server: LocalServer;
let client: CasClient;

beforeAll(async () => {
  server = await LocalServer.start();
  client = server.client;
});
afterAll(() => server[Symbol.asyncDispose]());

interface Entry {
  readonly ArchiveId: string;
  readonly ArchiveDescription: string;
  readonly CreationDate: string;
  readonly Size: number;
  readonly SHA256TreeHash: string;
}

interface Finished {
  readonly job: {
    readonly InventorySizeInBytes: number;
    readonly InventoryRetrievalParameters: { Marker: string | null };
  };
  readonly body: Buffer;
  readonly headers: Record<string, unknown>;
}

/** Runs an inventory job to its end and fetches the output as the Python client does: with a Range (15.8). */
async function inventory(on: LocalServer, vault: string, order: object = {}): Promise<Finished> {
  const id = await on.client.startedJob(vault, { Type: "inventory-retrieval", ...order });
  await on.clock.advance(3 * hour);
  return fetchInventory(on, vault, id);
}

async function fetchInventory(on: LocalServer, vault: string, id: string): Promise<Finished> {
  const job = (await on.client.call("GET", `/-/vaults/${vault}/jobs/${id}`)).json();
  const { status, headers, body } = await on.client.output(vault, id, `bytes=0-${job.InventorySizeInBytes - 1}`);
  expect(status).toBe(206);
  return { job, headers, body };
}

const listOf = ({ body }: Finished): Entry[] => JSON.parse(body.toString("utf8")).ArchiveList;
const idsOf = (finished: Finished) => listOf(finished).map((entry) => entry.ArchiveId);
const parameters = (more: object) => ({ InventoryRetrievalParameters: more });
const byBytes = (one: string, other: string) => Buffer.compare(Buffer.from(one), Buffer.from(other));

async function uploadMany(vault: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let index = 0; index < count; index++) ids.push(await client.uploaded(vault, testBytes(index + 1)));
  return ids.sort(byBytes);
}

describe("cas-api 12.2 Formats", () => {
  test("JSON lists every archive by the bytes of its id, with exact size and content type", async () => {
    await client.createVault("json");
    const ids = await uploadMany("json", 5);
    const bytes = testBytes(3_000_000);
    const description = { "x-cas-archive-description": 'a "quoted", \\ description' };
    ids.push(await client.uploaded("json", bytes, description));
    const created = new Date(server.clock.now()).toISOString();
    const finished = await inventory(server, "json");
    expect(finished.headers["content-type"]).toBe("application/json");
    expect(finished.headers["x-cas-sha256-tree-hash"]).toBeUndefined();
    expect(finished.job.InventorySizeInBytes).toBe(finished.body.length);
    const whole = JSON.parse(finished.body.toString("utf8"));
    expect(Object.keys(whole)).toEqual(["VaultQCS", "InventoryDate", "ArchiveList"]);
    expect(whole.VaultQCS).toBe("qcs:id/0:cas:ap-chengdu:uid/1250000000:vaults/json");
    expect(idsOf(finished)).toEqual(ids.sort(byBytes));
    expect(whole.ArchiveList.find((entry: Entry) => entry.Size === bytes.length)).toEqual({
      ArchiveId: expect.any(String),
      ArchiveDescription: description["x-cas-archive-description"],
      CreationDate: created,
      Size: bytes.length,
      SHA256TreeHash: hashHeaders(bytes)["x-cas-sha256-tree-hash"],
    });
  });

  test("CSV has five columns, RFC 4180 quotes and CRLF", async () => {
    await client.createVault("csv");
    const bytes = testBytes(12);
    const id = await client.uploaded("csv", bytes, { "x-cas-archive-description": 'say "a, b"' });
    const created = new Date(server.clock.now()).toISOString();
    const finished = await inventory(server, "csv", { Format: "CSV" });
    expect(finished.headers["content-type"]).toBe("text/csv");
    expect(finished.body.toString("utf8")).toBe(
      "ArchiveId,ArchiveDescription,CreationDate,Size,SHA256TreeHash\r\n" +
        `${id},"say ""a, b""",${created},12,${hashHeaders(bytes)["x-cas-sha256-tree-hash"]}\r\n`,
    );
  });

  test("an empty vault has an empty list, or only the header row, never zero bytes", async () => {
    await client.createVault("empty");
    expect(idsOf(await inventory(server, "empty"))).toEqual([]);
    const csv = await inventory(server, "empty", { Format: "CSV" });
    expect(csv.body.toString("utf8")).toMatch(/^ArchiveId,.*\r\n$/);
  });

  test("a description of raw bytes comes back as UTF-8, invalid sequences replaced (15.16)", async () => {
    await client.createVault("raw");
    const raw = Buffer.concat([Buffer.from("p/é/"), Buffer.from([0xc3])]).toString("latin1");
    await client.uploaded("raw", testBytes(1), { "x-cas-archive-description": raw });
    expect(listOf(await inventory(server, "raw"))[0]?.ArchiveDescription).toBe("p/é/\ufffd");
  });
});

describe("cas-api 12.1 When it is made", () => {
  test("with interval 0 every job sees the vault as it is when the job begins", async () => {
    await client.createVault("fresh");
    const first = await client.uploaded("fresh", testBytes(1));
    const job = await client.startedJob("fresh", { Type: "inventory-retrieval" });
    const second = await client.uploaded("fresh", testBytes(2));
    await client.call("DELETE", `/-/vaults/fresh/archives/${first}`);
    await server.clock.advance(3 * hour);
    expect(idsOf(await fetchInventory(server, "fresh", job))).toEqual([first]);
    expect(idsOf(await inventory(server, "fresh"))).toEqual([second]);
    const vault = (await client.call("GET", "/-/vaults/fresh")).json();
    expect(vault).toMatchObject({ NumberOfArchives: 1, SizeInBytes: 2 });
  });

  test("with an interval and a clock that was ahead and is set right: inventories are taken as if it never had been", async () => {
    await using ahead = await LocalServer.start({ inventoryIntervalMs: 24 * hour });
    await ahead.client.createVault("v");
    await ahead.client.uploaded("v", testBytes(1));
    await ahead.clock.advance(10 * 24 * hour);
    expect((await ahead.client.call("GET", "/-/vaults/v")).json().NumberOfArchives).toBe(1);
    await ahead.clock.advance(-10 * 24 * hour);
    await ahead.client.uploaded("v", testBytes(2));
    await ahead.clock.advance(24 * hour);
    expect((await ahead.client.call("GET", "/-/vaults/v")).json().NumberOfArchives).toBe(2);
  });

  test("with an interval a job returns the last inventory until that is old and the vault has changed", async () => {
    await using daily = await LocalServer.start({ inventoryIntervalMs: 24 * hour });
    await daily.client.createVault("v");
    const first = await daily.client.uploaded("v", testBytes(1));
    const initial = await inventory(daily, "v");
    const dateOf = (finished: Finished) => JSON.parse(finished.body.toString("utf8")).InventoryDate;
    expect(dateOf(initial)).toBe(new Date(startMs).toISOString());
    await daily.client.call("DELETE", `/-/vaults/v/archives/${first}`);
    const second = await daily.client.uploaded("v", testBytes(2));
    expect(idsOf(await inventory(daily, "v"))).toEqual([first]);
    await daily.clock.advance(24 * hour);
    const renewed = await inventory(daily, "v");
    expect(idsOf(renewed)).toEqual([second]);
    await daily.clock.advance(24 * hour);
    expect(dateOf(await inventory(daily, "v"))).toBe(dateOf(renewed));
  });
});

describe("a large vault", () => {
  /** Writes rows of archives as uploads would have left them; half of them were deleted since. */
  function addRows(directory: string, count: number): void {
    const database = new Database(join(directory, "metadata.db"));
    const insert = database.prepare(
      `INSERT INTO archive (vault_key, archive_id, description, created_at_ms, size_bytes, tree_hash, created_change,
         deleted_change) VALUES (1, ?, 'd', ?, 1, ?, ?, ?)`,
    );
    database.transaction(() => {
      for (let index = 1; index <= count; index++) {
        const id = `a${String(index).padStart(9, "0")}`;
        insert.run(id, startMs + index, Buffer.alloc(32), index, index % 2 === 0 ? count + 1 : null);
      }
      database.prepare("UPDATE vault SET change_number = ?, archive_count = ?").run(count + 1, count / 2);
    })();
    database.close();
  }

  test("is listed in parts of 10,000, and other requests have their turn while it is looked through", async () => {
    const before = await LocalServer.start();
    await before.client.createVault("v");
    await before.stop();
    addRows(before.directory, 60_000);
    await using large = await LocalServer.start({ dataDirectory: before.directory, clock: before.clock });
    const answered: string[] = [];
    const note = (what: string) => answered.push(what);
    const past = parameters({ EndDate: "2001-01-01T00:00:00Z" });
    const slow = large.client.startedJob("v", { Type: "inventory-retrieval", ...past }).then(() => note("inventory"));
    const quick = large.client.call("GET", "/-/vaults/v").then(() => note("vault"));
    await Promise.all([slow, quick]);
    expect(answered).toEqual(["vault", "inventory"]);
    const counts: number[] = [];
    for (let marker: string | null = ""; marker !== null; ) {
      const finished: Finished = await inventory(large, "v", parameters({ Marker: marker }));
      counts.push(idsOf(finished).length);
      marker = finished.job.InventoryRetrievalParameters.Marker;
    }
    expect(counts).toEqual([10_000, 10_000, 10_000]);
  });
});

describe("cas-api 12.3 Range parameters", () => {
  test("Limit, as text or number, cuts; the finished job's Marker begins the next", async () => {
    await client.createVault("paged");
    const ids = await uploadMany("paged", 7);
    const started = await client.startedJob("paged", { Type: "inventory-retrieval", ...parameters({ Limit: "3" }) });
    const early = (await client.call("GET", `/-/vaults/paged/jobs/${started}`)).json();
    expect(early).toMatchObject({
      InventorySizeInBytes: 0,
      InventoryRetrievalParameters: { Format: "JSON", StartDate: null, EndDate: null, Limit: 3, Marker: null },
    });
    const first = await inventory(server, "paged", parameters({ Limit: 3 }));
    expect(idsOf(first)).toEqual(ids.slice(0, 3));
    const marker = first.job.InventoryRetrievalParameters.Marker;
    expect(marker).toBe(ids[3]);
    const rest = await inventory(server, "paged", parameters({ Marker: marker }));
    expect(idsOf(rest)).toEqual(ids.slice(3));
    expect(rest.job.InventoryRetrievalParameters).toMatchObject({ Limit: 0, Marker: null });
  });

  test("jobs that follow a marker read the inventory that the first one took", async () => {
    await client.createVault("steady");
    const ids = await uploadMany("steady", 6);
    const first = await inventory(server, "steady", parameters({ Limit: 2 }));
    for (const id of ids) await client.call("DELETE", `/-/vaults/steady/archives/${id}`);
    const marker = first.job.InventoryRetrievalParameters.Marker;
    const second = await inventory(server, "steady", parameters({ Limit: 2, Marker: marker }));
    const nextMarker = second.job.InventoryRetrievalParameters.Marker;
    const third = await inventory(server, "steady", parameters({ Marker: nextMarker }));
    expect([...idsOf(first), ...idsOf(second), ...idsOf(third)]).toEqual(ids);
    expect(idsOf(await inventory(server, "steady"))).toEqual([]);
  });

  test("StartDate and EndDate are both included, in whole seconds", async () => {
    await using fresh = await LocalServer.start();
    await fresh.client.createVault("v");
    const ids: string[] = [];
    for (let index = 0; index < 3; index++) {
      ids.push(await fresh.client.uploaded("v", testBytes(1)));
      await fresh.clock.advance(1000);
    }
    const [second] = [new Date(startMs + 1000).toISOString().slice(0, 19)];
    const within = await inventory(fresh, "v", parameters({ StartDate: `${second}Z`, EndDate: `${second}Z` }));
    expect(idsOf(within)).toEqual([ids[1]]);
    expect(within.job.InventoryRetrievalParameters).toMatchObject({ StartDate: `${second}Z`, EndDate: `${second}Z` });
    expect(idsOf(await inventory(fresh, "v", parameters({ StartDate: `${second}Z` })))).toEqual(
      ids.slice(1).sort(byBytes),
    );
  });
});
