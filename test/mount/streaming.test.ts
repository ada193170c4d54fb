/**
 * A file larger than staging on a real mount: it goes to the vault while it is written, and comes back whole.
 *
 * The sizes are those of CASFS_STREAM_FILE, CASFS_STREAM_STAGING and CASFS_STREAM_MAX, in MiB, for a run by hand with
 * a large file; the figures are printed.
 */

import { createHash } from "node:crypto";
import { createReadStream, readdirSync, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { casfs, TestMount } from "../support/casfs-process.js";
import { shell, whyNoMount } from "../support/fuse-environment.js";

const reason = whyNoMount();
const fromEnvironment = (name: string, mebibytes: number) => Number(process.env[name] ?? mebibytes);
const fileMib = fromEnvironment("CASFS_STREAM_FILE", 160);
const stagingMib = fromEnvironment("CASFS_STREAM_STAGING", 40);
/** Its parts are 4 MiB by default: 10,000 of them. */
const maxMib = fromEnvironment("CASFS_STREAM_MAX", 39_000);
const timeoutMs = 120_000 + fileMib * 200;

describe.skipIf(reason !== undefined)(`streaming${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: TestMount;

  beforeEach(async () => {
    mount = await TestMount.make();
    await mountIt();
    await shell('mkdir "$1"', mount.path("v"));
  }, 60_000);

  afterEach(async () => {
    await mount[Symbol.asyncDispose]();
  }, 60_000);

  const mountIt = () =>
    mount.mount([
      ...["--staging-size", `${stagingMib}MiB`, "--stream-max-size", `${maxMib}MiB`],
      ...["--cache-size", `${fileMib * 2}MiB`, "--keep-free", "64MiB"],
    ]);

  const state = async (name: string) =>
    (await shell('getfattr --only-values -n user.casfs.state "$1"', mount.path("v", name))).stdout;

  test(
    "a file larger than staging is written at the pace of its upload, and read back from the vault",
    async () => {
      using watch = new StagingWatch(mount.state);
      const states = new Set<string>();
      const begun = performance.now();
      const file = await open(mount.path("v/large"), "w");
      const digest = await writeRandom(file, fileMib, async (written) => {
        if (written % 16 === 0) states.add(await state("large"));
      });
      const written = performance.now();
      await file.close();
      const closed = performance.now();
      expect(
        [...states].some((one) => /^uploading [1-9]\d*\/\d+$/.test(one)),
        [...states].join(),
      ).toBe(true);
      expect(watch.peakBytes).toBeLessThanOrEqual((stagingMib + 1) * MIB);
      expect(watch.peakBytes).toBeGreaterThan((stagingMib * MIB) / 4);
      expect(await state("large"), "when close() has returned").toBe("archived");
      expect((await mount.status()).staged).toMatchObject({ files: 0, usedBytes: 0 });
      const recalled = performance.now();
      expect(await digestOf(mount.path("v/large"))).toBe(digest);
      const read = performance.now();
      expect(await state("large")).toBe("cached");
      expect(await casfs("evict", mount.path("v/large"))).toMatchObject({ status: 0 });
      expect(await state("large")).toBe("archived");
      const seconds = (from: number, to: number) => ((to - from) / 1000).toFixed(1);
      console.info(
        `${fileMib} MiB through ${stagingMib} MiB: written in ${seconds(begun, written)} s, closed after ` +
          `${seconds(written, closed)} s more, at most ${Math.round(watch.peakBytes / MIB)} MiB staged; ` +
          `recalled and read in ${seconds(recalled, read)} s`,
      );
    },
    timeoutMs,
  );

  test(
    "a shell that lets several programs write one file gets all of them into it",
    async () => {
      const script = '{ head -c "$2" /dev/zero; true; head -c "$2" /dev/zero | tr "\\0" x; printf end; } > "$1"';
      const half = stagingMib * MIB;
      expect(await shell(script, mount.path("v/a"), String(half))).toMatchObject({ status: 0 });
      await until(async () => (await state("a")) === "archived");
      expect((await shell('stat -c %s "$1"', mount.path("v/a"))).stdout).toBe(`${2 * half + 3}\n`);
      expect((await shell('tail -c 4 "$1"', mount.path("v/a"))).stdout).toBe("xend");
    },
    timeoutMs,
  );

  test(
    "kill -9 while it is written: the former file stays, and nothing of the upload is left in the service",
    async () => {
      await shell('echo former > "$1"', mount.path("v/a"));
      expect(await casfs("wait", mount.path("v/a"))).toMatchObject({ status: 0 });
      const file = await open(mount.path("v/a"), "w");
      await writeRandom(file, stagingMib * 2, async () => {});
      const status = await mount.status();
      expect(status.uploads).toMatchObject([{ path: "v/a", state: "streaming" }]);
      await mount.crash();
      await file.close().catch(() => {});
      await mountIt();
      expect((await shell('cat "$1"', mount.path("v/a"))).stdout).toBe("former\n");
      expect(await state("a (interrupted)")).toBe("interrupted");
      expect((await mount.status()).suspects).toMatchObject([{ path: "v/a (interrupted)" }]);
      // What has left the disk is an error, never zeros.
      const read = await shell('head -c 1000 "$1" | wc -c', mount.path("v/a (interrupted)"));
      expect(read.stdout.trim()).toBe("0");
      expect(read.stderr).toContain("Input/output error");
    },
    timeoutMs,
  );
});

/** Writes random MiBs. @returns their SHA-256. */
async function writeRandom(
  file: FileHandle,
  mebibytes: number,
  onWritten: (mebibytes: number) => Promise<void>,
): Promise<string> {
  const hash = createHash("sha256");
  const block = Buffer.allocUnsafe(MIB);
  for (let index = 0; index < mebibytes; index++) {
    fillRandom(block, index);
    hash.update(block);
    await file.write(block, 0, MIB, index * MIB);
    await onWritten(index + 1);
  }
  return hash.digest("hex");
}

/** Other bytes in every MiB, made faster than a disk writes them. */
function fillRandom(block: Buffer, seed: number): void {
  let value = (seed + 1) * 2_654_435_761;
  for (let offset = 0; offset < block.length; offset += 4) {
    value = (Math.imul(value, 1_664_525) + 1_013_904_223) | 0;
    block.writeInt32LE(value, offset);
  }
}

async function until(done: () => Promise<boolean>, limitMs = 20_000): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await done())) {
    if (Date.now() > deadline) throw new Error("It did not happen in time");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path, { highWaterMark: MIB })) hash.update(piece);
  return hash.digest("hex");
}

/** The most that the staging files ever took from the disk. */
class StagingWatch implements Disposable {
  peakBytes = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(state: string) {
    const directory = join(state, "staging");
    this.#timer = setInterval(() => {
      const bytes = readdirSync(directory).map(
        (name) => (statSync(join(directory, name), { throwIfNoEntry: false })?.blocks ?? 0) * 512,
      );
      this.peakBytes = Math.max(this.peakBytes, ...[bytes.reduce((sum, each) => sum + each, 0)]);
    }, 10);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
