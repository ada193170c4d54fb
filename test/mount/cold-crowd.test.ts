/** A thousand cold files opened at once by a hundred processes: one job each, and nobody else is slowed down. */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/app/system-clock.js";
import { httpCasService } from "../../src/client/http-cas-service.js";
import { vaultName } from "../../src/domain/ids.js";
import { listAllJobs } from "../../src/restore/job-list.js";
import { casfs, type RunningCasfs, startCasfs, TestMount } from "../support/casfs-process.js";
import { run, whyNoMount } from "../support/fuse-environment.js";

const reason = whyNoMount();
const key = { CASFS_APP_ID: "-", CASFS_SECRET_ID: "cold-crowd", CASFS_SECRET_KEY: "cold-crowd-key" };
const fileCount = 1000;
const processCount = 100;
const vault = vaultName("crowd");
const directory = (index: number) => `d${String(index).padStart(2, "0")}`;

/** Ten files in each of a hundred directories; every file says its own name. */
const makeFiles = `for d in $(seq -f %02g 0 ${processCount - 1}); do mkdir "$1/d$d"
  for f in 0 1 2 3 4 5 6 7 8 9; do printf 'content of d%s/%s\\n' $d $f > "$1/d$d/$f"; done; done`;
/** Opens the ten files of one directory at once. */
const readDirectory = `for f in 0 1 2 3 4 5 6 7 8 9; do cat "$1/$f" > "$2/$f" & done; wait`;

describe.skipIf(reason !== undefined)(`a crowd of cold files${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: TestMount;
  let server: RunningCasfs;

  beforeAll(async () => {
    mount = await TestMount.make();
    const options = ["--listen", "127.0.0.1:0", "--data", mount.data, "--retrieval", "standard=5s"];
    server = await startCasfs(["serve", ...options], key);
    await mount.mount(["--endpoint", endpoint(), "--settle", "0s"], key);
    await mkdir(mount.path(vault));
    await mkdir(join(mount.directory, "source"));
    for (const place of [mount.path(vault), join(mount.directory, "source")]) {
      const made = await run("bash", ["-c", makeFiles, "bash", place], { timeoutMs: 90_000 });
      expect(made).toMatchObject({ status: 0, stderr: "" });
    }
    expect(await casfs("wait", mount.path(vault))).toMatchObject({ status: 0 });
    expect(await casfs("evict", mount.path(vault))).toMatchObject({ status: 0 });
  }, 120_000);

  afterAll(async () => {
    await mount?.[Symbol.asyncDispose]();
    await server?.stop();
  });

  const endpoint = () => server.line.replace("listening on ", "");

  /** Milliseconds of each of some listings of all names, the slowest last. */
  async function listings(): Promise<number[]> {
    const times: number[] = [];
    for (let round = 0; round < 12; round++) {
      const startedAt = performance.now();
      expect((await run("ls", ["-lR", mount.path(vault)])).status).toBe(0);
      times.push(performance.now() - startedAt);
    }
    return times.sort((a, b) => a - b);
  }

  async function jobs(): Promise<string[]> {
    const credentials = { secretId: key.CASFS_SECRET_ID, secretKey: key.CASFS_SECRET_KEY };
    const service = httpCasService({ endpoint: endpoint(), credentials, clock: systemClock });
    try {
      const all = await listAllJobs(service, vault, new AbortController().signal);
      return all.flatMap((job) => (job.action === "retrieve-archive" ? job.archiveId : []));
    } finally {
      await service.close();
    }
  }

  async function waitingOpens(count: number): Promise<void> {
    for (const deadline = Date.now() + 60_000; (await mount.status()).waiting.length < count; ) {
      if (Date.now() > deadline) throw new Error("The opens never came together");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  test("every open gets its content with one job, and ls goes on as before", async () => {
    const idle = await listings();
    const readers = Array.from({ length: processCount }, async (_, index) => {
      const target = join(mount.directory, "read", directory(index));
      await mkdir(target, { recursive: true });
      const parameters = ["bash", mount.path(vault, directory(index)), target];
      return run("bash", ["-c", readDirectory, ...parameters], { timeoutMs: 90_000 });
    });
    // Some may have their content before the last of them has opened, on a machine that is busy.
    await waitingOpens(fileCount / 2);
    const crowded = await listings();
    for (const reader of readers) expect(await reader).toMatchObject({ status: 0, stderr: "" });

    const read = join(mount.directory, "read");
    expect(await run("diff", ["-r", join(mount.directory, "source"), read])).toMatchObject({ status: 0, stdout: "" });
    const ordered = await jobs();
    expect(ordered).toHaveLength(fileCount);
    expect(new Set(ordered).size).toBe(fileCount);
    const [idleMiddle, crowdedMiddle] = [idle, crowded].map((times) => times[Math.floor(times.length / 2)]!);
    if (process.env.CASFS_FIGURES) console.log({ idle, crowded });
    // Generous, for a noisy machine; a stalled mount would take seconds.
    expect(crowdedMiddle!).toBeLessThan(3 * idleMiddle! + 1000);
  }, 120_000);
});
