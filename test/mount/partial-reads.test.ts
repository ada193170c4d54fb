/** `--partial-recall` through a real mount: ordinary tools read parts of a large cold file, and only these are paid for. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/app/system-clock.js";
import { httpCasService } from "../../src/client/http-cas-service.js";
import { MIB } from "../../src/domain/bytes.js";
import { vaultName } from "../../src/domain/ids.js";
import { listAllJobs } from "../../src/restore/job-list.js";
import { FaultPlan, faults, on } from "../support/fault-plan.js";
import { run, shell, whyNoMount } from "../support/fuse-environment.js";
import { testBytes } from "../support/test-bytes.js";
import { CountedMount } from "./counted-mount.js";

const reason = whyNoMount();
const size = 24 * MIB - 77;

describe.skipIf(reason !== undefined)(`partial recalls${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: CountedMount;
  let plain: string;

  beforeAll(async () => {
    const options = ["--settle", "0s", "--partial-recall", "1MiB"];
    mount = await CountedMount.start(options, { retrieval: "standard=200ms,inventory=0s" });
    plain = mount.plain("film");
    await writeFile(plain, testBytes(size, 5));
  }, 60_000);

  afterAll(() => mount?.[Symbol.asyncDispose]());

  /** A vault with one cold file. @returns the file. */
  async function coldFile(vault: string): Promise<string> {
    await mkdir(mount.path(vault));
    expect(await run("cp", [plain, mount.path(vault, "film")])).toMatchObject({ status: 0 });
    return makeCold(vault, "film");
  }

  async function makeCold(...names: readonly string[]): Promise<string> {
    expect(await mount.wait(...names)).toMatchObject({ left: [] });
    await mount.evict(...names);
    return mount.path(...names);
  }

  /** The ranges of the jobs of a vault, in MiB, in the order of the archive. */
  async function jobsOf(vault: string): Promise<(readonly [number, number])[]> {
    const credentials = { appId: "-", secretId: "counted", secretKey: "counted-key" };
    const service = httpCasService({ endpoint: mount.proxy.url, credentials, clock: systemClock });
    try {
      const jobs = await listAllJobs(service, vaultName(vault), new AbortController().signal);
      const ranges = jobs.flatMap((job) => (job.action === "retrieve-archive" ? [job.range] : []));
      return ranges
        .map(({ start, end }) => [start / MIB, Math.ceil(end / MIB)] as const)
        .sort(([one], [other]) => one - other);
    } finally {
      await service.close();
    }
  }

  const stateOf = async (path: string) =>
    (await run("getfattr", ["--only-values", "-n", "user.casfs.state", path])).stdout;

  /** Compares what dd reads of both files. */
  const samePart = (path: string, skipMib: number) =>
    shell(
      'cmp <(dd if="$1" bs=1M skip=$3 count=1 status=none) <(dd if="$2" bs=1M skip=$3 count=1 status=none)',
      path,
      plain,
      String(skipMib),
    );

  test("dd reads only its window, Ctrl-C ends a waiting read, and a kill -9 loses no window", async () => {
    const path = await coldFile("parts");
    expect(await samePart(path, 10)).toMatchObject({ status: 0, stdout: "", stderr: "" });
    expect(await jobsOf("parts")).toEqual([[10, 11]]);
    expect(await stateOf(path)).toBe("partial");

    // It waits for as long as the service does not hand out what it has retrieved.
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    mount.proxy.plan = new FaultPlan([on("getJobOutput", { nth: 1 }, faults.heldRequest(released))]);
    const tail = spawn("tail", ["-c", "100", path], { stdio: "ignore" });
    const ended = once(tail, "exit");
    await until(async () => (await mount.place.status()).recalls[0]?.state === "landing");
    const status = await mount.place.status();
    expect(status.waiting).toMatchObject([{ pid: tail.pid, path: "parts/film", for: "recall" }]);
    expect(status.recalls).toMatchObject([{ range: { start: 23 * MIB, end: size }, sizeBytes: MIB - 77 }]);
    tail.kill("SIGINT");
    // It would be killed by nothing, were the read not answered.
    await ended;

    await mount.place.crash();
    release();
    mount.proxy.plan = new FaultPlan();
    await mount.mount();
    expect(await shell('cmp <(tail -c 100 "$1") <(tail -c 100 "$2")', path, plain)).toMatchObject({ status: 0 });
    expect(await samePart(path, 10)).toMatchObject({ status: 0 });
    expect(await jobsOf("parts")).toEqual([
      [10, 11],
      [23, 24],
    ]);
    // What is mapped cannot be waited for.
    const map =
      'import mmap, sys; f = open(sys.argv[1], "rb"); mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)';
    expect((await run("python3", ["-c", map, path])).stderr).toContain("No such device");
  });

  test("a sequential cat gets every byte by few jobs, and leaves an ordinary cached file", async () => {
    const path = await coldFile("whole");
    expect(await shell('cat "$1" | cmp - "$2"', path, plain)).toMatchObject({ status: 0, stdout: "" });
    const jobs = await jobsOf("whole");
    expect(jobs).toEqual([
      [0, 1],
      [1, 2],
      [2, 4],
      [4, 8],
      [8, 16],
      [16, 24],
    ]);
    await until(async () => (await stateOf(path)) === "cached");
    expect(await run("cmp", [path, plain])).toMatchObject({ status: 0 });
    // What is executed is mapped: all of it has to be here.
    expect(await shell('cp "$(command -v bash)" "$1"', mount.path("whole", "program"))).toMatchObject({ status: 0 });
    const program = await makeCold("whole", "program");
    // By a shell: Node would stand still, and with it the proxy, until execve(2) has returned.
    expect(await shell('"$1" -c "echo it runs"', program)).toMatchObject({ status: 0, stdout: "it runs\n" });
    expect(await stateOf(program)).toBe("cached");
  });
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error("Waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
