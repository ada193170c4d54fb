import { execFileSync } from "node:child_process";
import { copyFileSync, readFileSync } from "node:fs";
import { link, mkdir, open, readFile, symlink, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { httpCasService } from "../../src/client/http-cas-service.js";
import { type ByteRange, byteCount, byteRange, MIB } from "../../src/domain/bytes.js";
import { CorruptError, ServiceError } from "../../src/domain/errors.js";
import type { JobId } from "../../src/domain/ids.js";
import type { CasService } from "../../src/protocol/service.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import {
  type DownloadTransferProgress,
  downloadJobOutput,
  type FileDownloadOptions,
} from "../../src/transfer/file-download.js";
import { credentials } from "../server/cas-client.js";
import { LocalServer } from "../server/local-server.js";
import { fc } from "../support/seeded-fast-check.js";
import { newArchive, readAll, testBytes } from "../support/test-bytes.js";
import { onNthCall, TransferFixture, vault, withCalls } from "./transfer-fixture.js";

const size = 5 * MIB + 17;
const content = testBytes(size);

/** Into the file "out", in pieces of one MiB. */
function download(
  fixture: TransferFixture,
  job: JobId,
  options: Partial<FileDownloadOptions> = {},
  service?: CasService,
) {
  const path = fixture.path("out");
  return downloadJobOutput(fixture.deps(service), { vault, job, path, pieceBytes: MIB, parallel: 2, ...options });
}

/** Fails at the third piece; the first two are there then. */
async function brokenDownload(fixture: TransferFixture, job: JobId): Promise<void> {
  const controller = new AbortController();
  onNthCall(fixture.memory, "getJobOutput", 3, () => controller.abort(new Error("killed")));
  await expect(download(fixture, job, { parallel: 1, signal: controller.signal })).rejects.toThrow("killed");
  fixture.memory.onCall = () => undefined;
  fixture.memory.bytesServed = 0;
}

/** The service without hashes of ranges. */
function withoutHashes(service: CasService): CasService {
  return withCalls(service, {
    getJobOutput: async (...call) => ({ ...(await service.getJobOutput(...call)), treeHash: null }),
  });
}

/** Changes one byte of the output, in the first `times` answers that contain it. */
function corrupt(fixture: TransferFixture, position: number, times: number): void {
  let left = times;
  fixture.memory.transformOutput = async function* (body, range) {
    const hit = range.start <= position && position < range.end && left > 0;
    if (hit) left -= 1;
    const bytes = Buffer.from(await readAll(body));
    if (hit) bytes[position - range.start]! ^= 0x40;
    yield bytes;
  };
}

test("the output appears under its name, whole and verified, and nothing else is left", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  expect(await download(fixture, job)).toEqual({ sizeBytes: size, treeHash: digestOf(content).treeHash });
  expect((await readFile(fixture.path("out"))).equals(content)).toBe(true);
  expect(await fixture.files()).toEqual(["out"]);
});

test("any range of any job, in pieces of any size, is that slice of the archive", async () => {
  await using fixture = await TransferFixture.create();
  const sizes = fc.integer({ min: 1, max: 6 * MIB });
  const fraction = fc.double({ min: 0, max: 0.999, noNaN: true });
  const cases = fc.record({ size: sizes, from: fraction, to: fraction, start: fraction, end: fraction });
  await fc.assert(
    fc.asyncProperty(cases, fc.integer({ min: 0, max: 4 * MIB }), fc.boolean(), async (some, pieceBytes, aligned) => {
      const bytes = testBytes(some.size, 3);
      const leaves = Math.ceil(some.size / MIB);
      const first = Math.floor(some.from * leaves);
      const last = first + 1 + Math.floor(some.to * (leaves - first));
      const jobRange = byteRange(first * MIB, Math.min(last * MIB, some.size));
      const output = bytes.subarray(jobRange.start, jobRange.end);
      const unit = aligned ? MIB : 1;
      const start = Math.floor((some.start * output.length) / unit) * unit;
      const end = Math.min(output.length, start + unit * Math.ceil((some.end * (output.length - start) + 1) / unit));
      const job = await fixture.retrieval(bytes, jobRange);
      const range = byteRange(start, end);
      const result = await download(fixture, job, { range, pieceBytes, overwrite: true });
      const wanted = output.subarray(start, end);
      expect(readFileSync(fixture.path("out")).equals(wanted)).toBe(true);
      expect(result.sizeBytes).toBe(wanted.length);
      if (result.treeHash !== null) expect(result.treeHash).toBe(digestOf(wanted).treeHash);
    }),
    { numRuns: 40 },
  );
});

test("wherever a byte is wrong, its piece alone is fetched again", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: size - 1 }), fc.integer({ min: 1, max: 2 }), async (position, times) => {
      corrupt(fixture, position, times);
      fixture.memory.bytesServed = 0;
      fixture.events.length = 0;
      await download(fixture, job, { overwrite: true });
      expect(readFileSync(fixture.path("out")).equals(content)).toBe(true);
      const piece = Math.min(MIB, size - (position - (position % MIB)));
      expect(fixture.memory.bytesServed).toBe(size + times * piece);
      expect(fixture.events.filter(({ type }) => type === "piece-corrupt")).toHaveLength(times);
    }),
    { numRuns: 25 },
  );
});

test("a piece that stays wrong fails the download and shows nothing", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  corrupt(fixture, 3 * MIB, 3);
  await expect(download(fixture, job)).rejects.toThrow(CorruptError);
  expect(await fixture.files()).not.toContain("out");
});

test("without hashes of pieces the whole is verified, and fetched again when it is wrong", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  corrupt(fixture, 2 * MIB + 5, 1);
  const result = await download(fixture, job, {}, withoutHashes(fixture.memory));
  expect(result.treeHash).toBe(digestOf(content).treeHash);
  expect((await readFile(fixture.path("out"))).equals(content)).toBe(true);
  expect(fixture.memory.bytesServed).toBe(2 * size);
});

test("a whole that stays wrong fails the download, and none of its bytes is kept", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  corrupt(fixture, 2 * MIB + 5, 9);
  await expect(download(fixture, job, {}, withoutHashes(fixture.memory))).rejects.toThrow(CorruptError);
  expect(await fixture.files()).toEqual([]);
});

test("a job whose range is no subtree is downloaded with its length checked, and says so", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content, byteRange(MIB, 3 * MIB));
  expect(await download(fixture, job)).toEqual({ sizeBytes: 2 * MIB, treeHash: null });
  expect((await readFile(fixture.path("out"))).equals(content.subarray(MIB, 3 * MIB))).toBe(true);
});

test("a range in whole MiB is verified although it is no subtree itself", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  const range = byteRange(MIB, 4 * MIB);
  const { treeHash } = await download(fixture, job, { range, pieceBytes: 32 * MIB });
  expect(treeHash).toBe(digestOf(content.subarray(MIB, 4 * MIB)).treeHash);
  corrupt(fixture, 3 * MIB, 3);
  await expect(download(fixture, job, { range, overwrite: true })).rejects.toThrow(CorruptError);
});

test("an inventory is downloaded, in several pieces too", async () => {
  await using fixture = await TransferFixture.create();
  for (let count = 0; count < 3; count++) await fixture.memory.uploadArchive(vault, newArchive(testBytes(10 + count)));
  const job = await fixture.memory.initiateJob(vault, { action: "retrieve-inventory", format: "json" });
  const output = await fixture.memory.getJobOutput(vault, job, undefined);
  expect(await download(fixture, job)).toEqual({ sizeBytes: output.sizeBytes, treeHash: null });
  expect((await readFile(fixture.path("out"))).equals(await readAll(output.body))).toBe(true);
});

test("bodies that break off are gone on with where they broke", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  fixture.memory.transformOutput = async function* (body, range) {
    // Answers of more than half a MiB end after half a MiB: alternately without a word and with a reset.
    const bytes = await readAll(body);
    yield bytes.subarray(0, MIB / 2);
    if (bytes.length <= MIB / 2) return;
    if (range.start % (2 * MIB) === 0) throw new ServiceError("connection", "the connection was reset");
  };
  await download(fixture, job);
  expect((await readFile(fixture.path("out"))).equals(content)).toBe(true);
  expect(fixture.memory.bytesServed).toBe(size);
});

test("an answer of another length than asked for is closed unread and asked for again", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  let wrongAnswers = 0;
  let closed = 0;
  const leave = async () => {
    closed += 1;
    return { done: true as const, value: undefined };
  };
  const body: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error("nobody may read it")), return: leave }),
  };
  const service = withCalls(fixture.memory, {
    getJobOutput: async (...call) => {
      const output = await fixture.memory.getJobOutput(...call);
      if (wrongAnswers === 2) return output;
      wrongAnswers += 1;
      return { ...output, sizeBytes: byteCount(output.sizeBytes - 1), body };
    },
  });
  await download(fixture, job, {}, service);
  expect(closed).toBe(2);
  expect((await readFile(fixture.path("out"))).equals(content)).toBe(true);
});

test("progress counts verified bytes and ends with all of them", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  corrupt(fixture, 100, 1);
  const seen: DownloadTransferProgress[] = [];
  await download(fixture, job, { onProgress: (progress) => seen.push(progress) });
  const total = { totalBytes: size, totalPieces: 6 };
  expect(seen[0]).toEqual({ doneBytes: 0, inFlightBytes: 0, donePieces: 0, ...total });
  expect(seen.at(-1)).toEqual({ doneBytes: size, inFlightBytes: 0, donePieces: 6, ...total });
  expect(seen.every(({ doneBytes }, index) => doneBytes >= (seen[index - 1]?.doneBytes ?? 0))).toBe(true);
});

describe("a download that was killed", () => {
  test("goes on with the pieces that are missing", async () => {
    await using fixture = await TransferFixture.create();
    const job = await fixture.retrieval(content);
    await brokenDownload(fixture, job);
    expect((await fixture.files()).sort()).toEqual(["out.casfs-part", "out.casfs-part.journal"]);
    const seen: DownloadTransferProgress[] = [];
    await download(fixture, job, { onProgress: (progress) => seen.push(progress) });
    expect(fixture.memory.bytesServed).toBe(size - 2 * MIB);
    expect(seen[0]).toMatchObject({ doneBytes: 2 * MIB, donePieces: 2 });
    expect((await readFile(fixture.path("out"))).equals(content)).toBe(true);
    expect(await fixture.files()).toEqual(["out"]);
  });

  test("at any moment, as kill -9 leaves it, goes on to the right bytes", async () => {
    await using fixture = await TransferFixture.create();
    const job = await fixture.retrieval(content);
    const moments: number[] = [];
    const onProgress = () => {
      if (moments.length >= 8) return;
      const copy = fixture.path(`killed-${moments.push(moments.length)}`);
      for (const suffix of [".casfs-part", ".casfs-part.journal"]) {
        copyFileSync(fixture.path(`out${suffix}`), `${copy}${suffix}`);
      }
    };
    await download(fixture, job, { onProgress });
    for (const moment of moments) {
      const path = fixture.path(`killed-${moment + 1}`);
      await download(fixture, job, { path });
      expect((await readFile(path)).equals(content)).toBe(true);
    }
    expect(moments).toHaveLength(8);
  });

  test("between a piece and its line in the journal fetches that piece again", async () => {
    await using fixture = await TransferFixture.create();
    const job = await fixture.retrieval(content);
    await brokenDownload(fixture, job);
    const journal = fixture.path("out.casfs-part.journal");
    const text = await readFile(journal, "utf8");
    await writeFile(journal, text.slice(0, -20)); // The line of the second piece is torn.
    await download(fixture, job);
    expect(fixture.memory.bytesServed).toBe(size - MIB);
    expect((await readFile(fixture.path("out"))).equals(content)).toBe(true);
  });

  test("does not trust a piece that somebody wrote to since", async () => {
    await using fixture = await TransferFixture.create();
    const job = await fixture.retrieval(content);
    await brokenDownload(fixture, job);
    const file = await open(fixture.path("out.casfs-part"), "r+");
    await file.write(Buffer.from("vandal"), 0, 6, MIB + 7);
    await file.close();
    await download(fixture, job);
    expect(fixture.memory.bytesServed).toBe(size - MIB);
    expect((await readFile(fixture.path("out"))).equals(content)).toBe(true);
  });

  test("keeps the size of its pieces", async () => {
    await using fixture = await TransferFixture.create();
    const job = await fixture.retrieval(content);
    await brokenDownload(fixture, job);
    await download(fixture, job, { pieceBytes: 4 * MIB });
    expect(fixture.memory.bytesServed).toBe(size - 2 * MIB);
  });

  test("goes on with another job for the same bytes", async () => {
    await using fixture = await TransferFixture.create();
    const job = await fixture.retrieval(content);
    await brokenDownload(fixture, job);
    const [archive] = fixture.memory.archivesOf(vault);
    const { archiveId } = archive!;
    const again = await fixture.memory.initiateJob(vault, { action: "retrieve-archive", archiveId, tier: "bulk" });
    await download(fixture, again);
    expect(fixture.memory.bytesServed).toBe(size - 2 * MIB);
  });

  test.each([
    { of: "another archive", other: testBytes(size, 1), range: undefined },
    { of: "another range of the same archive", other: content, range: byteRange(0, 4 * MIB) },
  ])("leaves nothing to a download of $of", async ({ other, range }) => {
    await using fixture = await TransferFixture.create();
    await brokenDownload(fixture, await fixture.retrieval(content));
    const job = await fixture.retrieval(other, range);
    await download(fixture, job);
    const wanted = other.subarray(range?.start ?? 0, range?.end ?? size);
    expect(fixture.memory.bytesServed).toBe(wanted.length);
    expect((await readFile(fixture.path("out"))).equals(wanted)).toBe(true);
  });

  test("without its part file begins anew", async () => {
    await using fixture = await TransferFixture.create();
    const job = await fixture.retrieval(content);
    await brokenDownload(fixture, job);
    await writeFile(fixture.path("out.casfs-part"), "");
    await download(fixture, job);
    expect(fixture.memory.bytesServed).toBe(size);
  });
});

test("a failure before the first piece leaves no files", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  fixture.memory.fail({ operation: "getJobOutput", error: new ServiceError("missing", "The output has expired") });
  await expect(download(fixture, job, { parallel: 1 })).rejects.toMatchObject({ fault: "missing" });
  expect(await fixture.files()).toEqual([]);
});

describe("a file that is there already", () => {
  test("is not replaced, and nothing is fetched", async () => {
    await using fixture = await TransferFixture.create();
    const job = await fixture.retrieval(content);
    await fixture.file("out", Buffer.from("mine"));
    await expect(download(fixture, job)).rejects.toMatchObject({ kind: "exists" });
    expect(await readFile(fixture.path("out"), "utf8")).toBe("mine");
    expect(fixture.memory.calls.getJobOutput).toBe(0);
  });

  test("is replaced when that is wanted, at the end and not before", async () => {
    await using fixture = await TransferFixture.create();
    const job = await fixture.retrieval(content);
    await fixture.file("out", Buffer.from("mine"));
    const before = new Set<string>();
    const onProgress = () => void before.add(readFileSync(fixture.path("out"), "utf8"));
    await download(fixture, job, { overwrite: true, onProgress });
    expect([...before]).toEqual(["mine"]);
    expect((await readFile(fixture.path("out"))).equals(content)).toBe(true);
  });

  test("that appears during the download is not replaced either, and the pieces are kept", async () => {
    await using fixture = await TransferFixture.create();
    const job = await fixture.retrieval(content);
    onNthCall(fixture.memory, "getJobOutput", 2, () => writeFile(fixture.path("out"), "mine"));
    await expect(download(fixture, job)).rejects.toMatchObject({ kind: "exists" });
    expect(await readFile(fixture.path("out"), "utf8")).toBe("mine");
    fixture.memory.bytesServed = 0;
    await download(fixture, job, { overwrite: true });
    expect(fixture.memory.bytesServed).toBe(0);
  });

  test("is never replaced when it is a directory, nor when it is a dangling link that nobody wants replaced", async () => {
    await using fixture = await TransferFixture.create();
    const job = await fixture.retrieval(content);
    await mkdir(fixture.path("out"));
    await expect(download(fixture, job, { overwrite: true })).rejects.toMatchObject({ kind: "is-a-directory" });
    await symlink("nowhere", fixture.path("link"));
    await expect(download(fixture, job, { path: fixture.path("link") })).rejects.toMatchObject({ kind: "exists" });
  });

  test("is never replaced when it is no regular file, such as /dev/null, nor when a link leads to one", async () => {
    await using fixture = await TransferFixture.create();
    const job = await fixture.retrieval(content);
    execFileSync("mkfifo", [fixture.path("out")]);
    await expect(download(fixture, job, { overwrite: true })).rejects.toMatchObject({ kind: "invalid" });
    await symlink("/dev/null", fixture.path("link"));
    const toLink = { overwrite: true, path: fixture.path("link") };
    await expect(download(fixture, job, toLink)).rejects.toMatchObject({ kind: "invalid" });
    await expect(download(fixture, job, { overwrite: true, path: "" })).rejects.toMatchObject({ kind: "invalid" });
    expect(fixture.memory.bytesServed).toBe(0);
  });
});

test("two downloads to one name do not get into each other's way: the second is refused", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  let second: Promise<unknown> | undefined;
  onNthCall(fixture.memory, "getJobOutput", 2, async () => {
    second = download(fixture, job).catch((error: unknown) => error);
    await second;
  });
  await download(fixture, job);
  expect(await second).toMatchObject({ kind: "busy" });
  expect((await readFile(fixture.path("out"))).equals(content)).toBe(true);
});

test("a job that has no output yet, or none at all, is refused with words", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  fixture.memory.failJob(vault, job, "The archive could not be read");
  await expect(download(fixture, job)).rejects.toThrow(/it failed: The archive could not be read/);
  const pending = withCalls(fixture.memory, {
    describeJob: async (...call) => ({ ...(await fixture.memory.describeJob(...call)), status: "in-progress" }),
  });
  await expect(download(fixture, job, {}, pending)).rejects.toMatchObject({ kind: "not-ready" });
  const finished = await fixture.retrieval(content);
  const beyond: ByteRange = byteRange(size, size + 1);
  await expect(download(fixture, finished, { range: beyond })).rejects.toThrow(/none of the wanted range/);
});

test("an abort rejects with its reason", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  const reason = new Error("enough");
  await expect(download(fixture, job, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

/** @returns false where only an administrator could do it, and this is none. */
function mountSmallDisk(sizeBytes: number, path: string, remount = ""): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `${remount}size=${sizeBytes}`, "tmpfs", path], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

test("a full disk is said to be full, and the download goes on when there is room", async (context) => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  await mkdir(fixture.path("disk"));
  if (!mountSmallDisk(3 * MIB, fixture.path("disk"))) return context.skip();
  try {
    const path = fixture.path("disk/out");
    await expect(download(fixture, job, { path, parallel: 1 })).rejects.toMatchObject({ kind: "no-space" });
    mountSmallDisk(8 * MIB, fixture.path("disk"), "remount,");
    fixture.memory.bytesServed = 0;
    await download(fixture, job, { path });
    expect(fixture.memory.bytesServed).toBe(size - 2 * MIB);
    expect((await readFile(path)).equals(content)).toBe(true);
  } finally {
    execFileSync("umount", [fixture.path("disk")]);
  }
});

test("over HTTP, a download that was killed half-way fetches only what is missing when it goes on", async () => {
  await using fixture = await TransferFixture.create();
  await using server = await LocalServer.start({ retrievalMs: { expedited: 0, standard: 0, bulk: 0, inventory: 0 } });
  const { clock } = server;
  const http = httpCasService({ endpoint: server.running.url, appId: credentials.appId, credentials, clock });
  await using _close = { [Symbol.asyncDispose]: () => http.close() };
  await http.createVault(vault);
  const archiveId = await http.uploadArchive(vault, newArchive(content));
  const job = await http.initiateJob(vault, { action: "retrieve-archive", archiveId, tier: "standard" });
  await clock.advance(1);
  const ranges: (ByteRange | undefined)[] = [];
  const service = withCalls(http, {
    getJobOutput: (...[name, id, range, options]) => {
      ranges.push(range);
      return http.getJobOutput(name, id, range, options);
    },
  });
  const controller = new AbortController();
  const onProgress = ({ donePieces }: DownloadTransferProgress) => {
    if (donePieces === 2) controller.abort(new Error("killed"));
  };
  const first = download(fixture, job, { parallel: 1, onProgress, signal: controller.signal }, service);
  await expect(first).rejects.toThrow("killed");
  ranges.length = 0;
  expect(await download(fixture, job, {}, service)).toEqual({ sizeBytes: size, treeHash: digestOf(content).treeHash });
  expect(ranges.map((range) => range!.start / MIB).sort()).toEqual([2, 3, 4, 5]);
  expect((await readFile(fixture.path("out"))).equals(content)).toBe(true);
});

test("a download that was killed while it was published is not written to by the next one to that name", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  // As the crash leaves it: linked to its final name, and moved from there since.
  await writeFile(fixture.path("finished"), "of an earlier archive");
  await link(fixture.path("finished"), fixture.path("out.casfs-part"));
  await download(fixture, job);
  expect(await readFile(fixture.path("finished"), "utf8")).toBe("of an earlier archive");
  expect((await readFile(fixture.path("out"))).equals(content)).toBe(true);
});

test("a link in the place of the unfinished file is not followed", async () => {
  await using fixture = await TransferFixture.create();
  const job = await fixture.retrieval(content);
  await writeFile(fixture.path("other"), "of somebody else");
  await symlink(fixture.path("other"), fixture.path("out.casfs-part"));
  await expect(download(fixture, job)).rejects.toMatchObject({ code: "ELOOP" });
  expect(await readFile(fixture.path("other"), "utf8")).toBe("of somebody else");
});
