import { describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import type { CasfsEvent } from "../../src/domain/events.js";
import { Background } from "../../src/server/background.js";
import { FakeClock, settled } from "../support/fake-clock.js";
import { testBytes } from "../support/test-bytes.js";
import { bodyFiles, hour, LocalServer, startMs } from "./local-server.js";

const filesOf = (server: LocalServer) => expect.poll(async () => (await bodyFiles(server.directory)).length);

describe("without a request", () => {
  test("the output of a job is freed when it expires", async () => {
    await using server = await LocalServer.start();
    await server.client.createVault("v");
    await server.client.startedJob("v", { Type: "inventory-retrieval" });
    await server.clock.advance(27 * hour - 1);
    await filesOf(server).toBe(1);
    await server.clock.advance(1);
    await filesOf(server).toBe(0);
  });

  test("the bytes of a deleted archive are freed when the last job that kept them expires", async () => {
    await using server = await LocalServer.start();
    await server.client.createVault("v");
    const archive = await server.client.uploaded("v", testBytes(10));
    await server.client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive });
    await server.clock.advance(4 * hour);
    await server.client.call("DELETE", `/-/vaults/v/archives/${archive}`);
    await server.clock.advance(24 * hour - 1);
    await filesOf(server).toBe(1);
    await server.clock.advance(1);
    await filesOf(server).toBe(0);
  });

  test("the parts of an idle upload are freed when it expires, an upload that went on is not", async () => {
    await using server = await LocalServer.start();
    await server.client.createVault("v");
    const idle = await server.client.initiateUpload("v");
    const busy = await server.client.initiateUpload("v");
    await server.client.putPart("v", idle, { start: 0, content: testBytes(MIB) });
    await server.client.putPart("v", busy, { start: 0, content: testBytes(MIB) });
    await server.clock.advance(12 * hour);
    await server.client.putPart("v", busy, { start: MIB, content: testBytes(MIB) });
    await server.clock.advance(12 * hour);
    await filesOf(server).toBe(2);
    await server.clock.advance(12 * hour);
    await filesOf(server).toBe(0);
  });

  test("what expired while the service was stopped is freed at its start", async () => {
    const server = await LocalServer.start();
    await server.client.createVault("v");
    await server.client.startedJob("v", { Type: "inventory-retrieval" });
    await server.stop();
    await server.clock.advance(48 * hour);
    await using again = await LocalServer.start({ dataDirectory: server.directory, clock: server.clock });
    await filesOf(again).toBe(0);
  });

  test("an idle service wakes up a few times a day, not more", async () => {
    let sleeps = 0;
    class CountingClock extends FakeClock {
      override sleep(...options: Parameters<FakeClock["sleep"]>) {
        sleeps += 1;
        return super.sleep(...options);
      }
    }
    await using server = await LocalServer.start({
      clock: new CountingClock({ startMs }),
      inventoryIntervalMs: 24 * hour,
    });
    await server.client.createVault("v");
    sleeps = 0;
    await server.clock.advance(10 * 24 * hour);
    expect(sleeps).toBeLessThan(10 * 30);
    expect(sleeps).toBeGreaterThan(0);
  });
});

describe("cas-api 12.1 periodic inventories", () => {
  const describeVault = async (server: LocalServer) => (await server.client.call("GET", "/-/vaults/v")).json();

  test("are taken at their time: a later look shows what the vault was then", async () => {
    await using server = await LocalServer.start({ inventoryIntervalMs: 24 * hour });
    await server.client.createVault("v");
    await server.client.uploaded("v", testBytes(7));
    expect(await describeVault(server)).toMatchObject({ LastInventoryDate: null, NumberOfArchives: null });
    await server.clock.advance(24 * hour + 5);
    await server.client.uploaded("v", testBytes(5));
    await server.clock.advance(3 * hour);
    expect(await describeVault(server)).toMatchObject({
      LastInventoryDate: new Date(startMs + 24 * hour).toISOString(),
      NumberOfArchives: 1,
      SizeInBytes: 7,
    });
    await server.clock.advance(21 * hour);
    expect(await describeVault(server)).toMatchObject({
      LastInventoryDate: new Date(startMs + 48 * hour).toISOString(),
      NumberOfArchives: 2,
      SizeInBytes: 12,
    });
  });

  test("pass over a vault that has not changed", async () => {
    await using server = await LocalServer.start({ inventoryIntervalMs: 24 * hour });
    await server.client.createVault("v");
    await server.client.uploaded("v", testBytes(7));
    await server.clock.advance(5 * 24 * hour);
    expect(await describeVault(server)).toMatchObject({
      LastInventoryDate: new Date(startMs + 24 * hour).toISOString(),
    });
    await server.client.uploaded("v", testBytes(7));
    await server.clock.advance(23 * hour);
    expect(await describeVault(server)).toMatchObject({ NumberOfArchives: 1 });
    await server.clock.advance(hour);
    expect(await describeVault(server)).toMatchObject({ NumberOfArchives: 2 });
  });

  test("are taken of many vaults at once", async () => {
    await using server = await LocalServer.start({ inventoryIntervalMs: 24 * hour });
    for (let index = 0; index < 5; index++) {
      await server.client.createVault(`v${index}`);
      await server.client.uploaded(`v${index}`, testBytes(1));
    }
    await server.clock.advance(24 * hour);
    const { VaultList } = (await server.client.call("GET", "/-/vaults")).json();
    expect(VaultList.map((vault: { NumberOfArchives: number }) => vault.NumberOfArchives)).toEqual([1, 1, 1, 1, 1]);
  });

  test("whose time came while the service was stopped are taken at its start", async () => {
    const server = await LocalServer.start({ inventoryIntervalMs: 24 * hour });
    await server.client.createVault("v");
    await server.client.uploaded("v", testBytes(7));
    await server.stop();
    await server.clock.advance(60 * hour);
    await using again = await LocalServer.start({
      dataDirectory: server.directory,
      clock: server.clock,
      inventoryIntervalMs: 24 * hour,
    });
    expect(await describeVault(again)).toMatchObject({
      LastInventoryDate: new Date(startMs + 48 * hour).toISOString(),
      NumberOfArchives: 1,
    });
  });
});

describe("Background", () => {
  /** A clock that a test sets without waking anybody, as when a machine was suspended. */
  class JumpingClock extends FakeClock {
    aheadMs = 0;
    override now() {
      return (super.now() + this.aheadMs) as ReturnType<FakeClock["now"]>;
    }
  }

  test("a duty runs at its time, and at a request that comes before the loop has noticed that time", async () => {
    const clock = new JumpingClock({ startMs: 0 });
    const background = new Background({ clock });
    const runs: number[] = [];
    background.start([{ name: "Duty", run: () => runs.push(clock.now()) && clock.now() - (clock.now() % 100) + 100 }]);
    await clock.advance(250);
    expect(runs).toEqual([0, 100, 200]);
    clock.aheadMs = 1000;
    background.catchUp();
    expect(runs.at(-1)).toBe(1250);
    background.catchUp();
    expect(runs).toHaveLength(4);
    await background.close();
    expect(clock.sleepers).toBe(0);
  });

  test("something that is expected earlier wakes the loop", async () => {
    const clock = new FakeClock({ startMs: 0 });
    const background = new Background({ clock });
    const runs: number[] = [];
    background.start([
      {
        name: "Duty",
        run: () => {
          runs.push(clock.now());
          return undefined;
        },
      },
    ]);
    await settled();
    background.expect(70);
    background.expect(90);
    await clock.advance(200);
    expect(runs).toEqual([0, 70]);
    await background.close();
  });

  test("a duty that fails is reported and tried again later; the others go on", async () => {
    const clock = new FakeClock({ startMs: 0 });
    const events: CasfsEvent[] = [];
    const background = new Background({ clock, observer: (event) => events.push(event) });
    const runs: number[] = [];
    const failing = {
      name: "Failing",
      run: () => {
        throw new Error("the disk is full");
      },
    };
    const working = {
      name: "Working",
      run: () => {
        runs.push(clock.now());
        return clock.now() + 15_000;
      },
    };
    background.start([failing, working]);
    await clock.advance(10_000);
    expect(events).toEqual(
      Array.from({ length: 2 }, () => ({ type: "warning", message: "Failing failed: the disk is full" })),
    );
    expect(runs).toEqual([0, 10_000]);
    await background.close();
  });
});
