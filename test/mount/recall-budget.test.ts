/** No surprise on the bill, through a real mount: limits, denied programs, and what `casfs status` says of them. */

import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { casfs, type RunningCasfs, startCasfs, TestMount } from "../support/casfs-process.js";
import { run, shell, whyNoMount } from "../support/fuse-environment.js";

const reason = whyNoMount();
const key = { CASFS_APP_ID: "-", CASFS_SECRET_ID: "recall-budget", CASFS_SECRET_KEY: "recall-budget-key" };
const quota = "Disk quota exceeded";

describe.skipIf(reason !== undefined)(`recall budget${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: TestMount;
  let server: RunningCasfs;
  let endpoint: string;

  beforeAll(async () => {
    mount = await TestMount.make();
    server = await startCasfs(
      ["serve", "--listen", "127.0.0.1:0", "--data", mount.data, "--retrieval", "standard=300ms"],
      key,
    );
    endpoint = server.line.replace("listening on ", "");
  }, 60_000);

  beforeEach(() => mount.forgetState());

  afterEach(() => mount.unmount());

  afterAll(async () => {
    await mount?.[Symbol.asyncDispose]();
    await server?.stop();
  });

  const mountWith = (...options: readonly string[]) =>
    mount.mount(["--endpoint", endpoint, "--settle", "0s", ...options], key);

  const coldFiles = (vault: string, count: number) => mount.makeColdFiles(vault, count);

  test("beyond --recall-limit an open fails with EDQUOT, a restart keeps the use, and a confirmed restore passes", async () => {
    await mountWith("--recall-limit", "8000/day", "--recall-cost-limit", "1/month");
    await coldFiles("limited", 2);
    expect((await shell('cat "$1" | wc -c', mount.path("limited/cold1"))).stdout).toBe("5000\n");
    const refused = await run("cat", [mount.path("limited/cold2")]);
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining(quota) });
    expect(mount.running.stderr()).toMatch(
      /refused the recall of limited\/cold2 to process \d+ \(cat\): .*--recall-limit/,
    );
    await mount.unmount();

    await mountWith("--recall-limit", "8000/day", "--recall-cost-limit", "1/month");
    expect((await run("cat", [mount.path("limited/cold2")])).stderr).toContain(quota);
    const { recalls, recallBudget } = await mount.status();
    expect(recalls).toEqual([]);
    expect(recallBudget.bytes).toMatchObject({ used: 5000, limit: 8000, periodMs: 86_400_000 });
    expect(Date.parse(recallBudget.bytes!.freesAt!)).toBeGreaterThan(Date.now() + 86_000_000);
    expect(recallBudget.cost!.used).toBeGreaterThan(0);
    expect(recallBudget.refused).toMatchObject({ overBudget: 1, denied: 0 });
    expect(recallBudget.refused.recent[0]).toMatchObject({ command: "cat", path: "limited/cold2", sizeBytes: 5000 });

    const restored = await casfs("restore", "--wait", "--yes", mount.path("limited/cold2"));
    expect(restored).toMatchObject({ status: 0, stdout: expect.stringContaining("1 file restored") });
    expect((await shell('cat "$1" | wc -c', mount.path("limited/cold2"))).stdout).toBe("5000\n");
    expect((await mount.status()).recallBudget.bytes).toMatchObject({ used: 5000 });
  });

  test("a program that is named as an indexer gets EDQUOT and starts no job; the same program by another name reads", async () => {
    await mountWith();
    await coldFiles("indexed", 2);
    const indexer = join(mount.directory, "updatedb.plocate");
    await copyFile("/bin/cat", indexer);
    for (const file of ["indexed/cold1", "indexed/cold2"]) {
      const refused = await run(indexer, [mount.path(file)]);
      expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining(quota) });
    }
    const { recalls, recallBudget } = await mount.status();
    expect(recalls).toEqual([]);
    expect(recallBudget.bytes).toMatchObject({ used: 0 });
    expect(recallBudget.refused).toMatchObject({ denied: 2, overBudget: 0 });
    expect(recallBudget.refused.recent).toHaveLength(1);
    expect(recallBudget.refused.recent[0]).toMatchObject({ reason: "denied", count: 2 });
    // Once, though it was refused twice.
    expect(mount.running.stderr().match(/refused the recall of/g)).toHaveLength(1);
    expect(mount.running.stderr()).toMatch(/indexed\/cold1 to process \d+ \(updatedb.plocat\): .*the rule updatedb\*/);
    const status = await casfs("status", mount.mountpoint);
    expect(status.stdout).toMatch(/refused to process \d+ \(updatedb.plocat\), --recall-deny: indexed\/cold2/);
    expect((await shell('cat "$1" | wc -c', mount.path("indexed/cold1"))).stdout).toBe("5000\n");
  });

  test("`casfs cost` tells what files cost and what was asked for, with the mount and without it", async () => {
    await mountWith();
    await coldFiles("priced", 3);
    expect((await shell('cat "$1" | wc -c', mount.path("priced/cold1"))).stdout).toBe("5000\n");
    const ofFile = await casfs("cost", "--json", mount.path("priced/cold2"));
    expect(JSON.parse(ofFile.stdout)).toMatchObject([
      {
        mountpoint: mount.mountpoint,
        currency: "CNY",
        free: false,
        stored: { archives: 1, bytes: 5000 },
        restore: { archives: 1 },
      },
    ]);
    const ofState = ["cost", "--json", "--state", mount.state];
    const whole = [...ofState, "priced"];
    const ledger = [...ofState, "--ledger"];
    const mounted = {
      cost: JSON.parse((await casfs(...whole)).stdout),
      ledger: JSON.parse((await casfs(...ledger)).stdout),
    };
    expect(mounted.cost).toMatchObject([
      { mountpoint: mount.mountpoint, stored: { archives: 3, bytes: 15_000 }, restore: { archives: 2, bytes: 10_000 } },
    ]);
    expect(mounted.cost[0].restore.tiers.standard.price).toBeGreaterThan(0);
    expect(mounted.cost[0].deletion).toMatchObject({ young: 3 });
    expect(mounted.ledger[0].months).toMatchObject([
      {
        retrievals: { standard: { count: 1, bytes: 5000 } },
        uploads: { count: 3, bytes: 15_000 },
      },
    ]);
    await mount.unmount();

    const offline = {
      cost: JSON.parse((await casfs(...whole)).stdout),
      ledger: JSON.parse((await casfs(...ledger)).stdout),
    };
    expect(offline.cost[0]).toMatchObject({
      mountpoint: null,
      stored: mounted.cost[0].stored,
      restore: mounted.cost[0].restore,
    });
    const { retrievals, uploads } = mounted.ledger[0].months[0];
    expect(offline.ledger[0].months).toMatchObject([{ retrievals, uploads }]);
    const text = await casfs("cost", "--state", mount.state, "priced/cold2");
    expect(text.stdout).toMatch(
      /^storing {4}1 archive, 4.8KiB: less than 0.01 CNY a month\nrestoring {2}1 archive, 4.8KiB not here\n/,
    );
    expect(await casfs("cost", "--state", join(mount.directory, "nothing"))).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("there is no catalog in it"),
    });
    expect(await casfs("cost", "--ledger", "a")).toMatchObject({ status: 2 });
    expect(await casfs("cost", "--since", "2026-01-01")).toMatchObject({ status: 2 });
    await mountWith();
  });

  test("`casfs status` shows who waits for which job", async () => {
    await mountWith("--tier", "bulk"); // takes five seconds
    await coldFiles("waited", 1);
    const reading = shell('cat "$1" | wc -c', mount.path("waited/cold1"));
    const waiting = await until(async () => {
      const status = await mount.status();
      return status.waiting.find(({ recall }) => recall?.jobId != null);
    });
    expect(waiting).toMatchObject({ path: "waited/cold1", for: "recall", command: expect.stringContaining("cat ") });
    expect(waiting.recall).toMatchObject({ tier: "bulk", state: "retrieving" });
    expect(Date.parse(waiting.recall!.expectedAt!)).toBeGreaterThan(Date.now());
    const status = await casfs("status", mount.mountpoint);
    expect(status.stdout).toMatch(
      /waiting {3}process \d+ \(cat .*\) waits for waited\/cold1 since .*: bulk, retrieving, job .{12}…, ready in about 1[12]h/,
    );
    expect(await reading).toMatchObject({ stdout: "5000\n" });
  });
});

async function until<T>(look: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    const seen = await look();
    if (seen !== undefined) return seen;
    if (Date.now() > deadline) throw new Error("Waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}
