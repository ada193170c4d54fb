/** Where somebody asked to wait for the vault, a failing upload is an error; everywhere else it is shown and tried again. */

import { expect, test } from "vitest";
import { CasfsError, FileSystemError, ServiceError } from "../../src/domain/errors.js";
import { minutes, seconds } from "../../src/domain/time.js";
import { rewriting, TestVault } from "../support/test-file-system.js";

const waiting = { settings: { commit: "archived", stallTimeoutMs: seconds(60) } } as const;

/** FLUSH of a file that was written, and how long it took by the clock. */
async function closed(it: TestVault, name = "a") {
  const handle = await it.open(name, rewriting);
  await it.pwrite(handle, 0, Buffer.from("text"));
  const begun = it.clock.now();
  let ended = false;
  const failure = it.flush(handle).then(
    () => undefined,
    (error: unknown) => error,
  );
  const result = failure.then((error) => {
    ended = true;
    return { error, tookMs: it.clock.now() - begun };
  });
  await it.until(() => ended, { stepMs: 500, limitMs: 20_000 });
  await it.fs.release(handle);
  return result;
}

test.each([
  [new ServiceError("denied", "the key may not do this"), "access-denied"],
  [new ServiceError("missing", "there is no such vault"), "unavailable"],
  [new ServiceError("refused", "the account is overdue"), "unavailable"],
] as const)("with --commit archived close() returns at once what somebody has to repair: %s", async (error, kind) => {
  await using it = await TestVault.create(waiting);
  it.service.fail({ operation: "uploadArchive", error });
  const { error: met } = await closed(it);
  expect(met).toMatchObject({ kind, message: expect.stringContaining(error.message) });
  expect(it.service.calls.uploadArchive).toBe(1);
  expect(await it.text("a")).toBe("text");
  expect(it.state("a")).toBe("staged");
  await it.clock.advance(minutes(5));
  await it.archiveAll();
  expect(it.archived()).toEqual(["text"]);
});

test("with --commit archived close() bears what passes by itself for --stall-timeout, then says it", async () => {
  await using it = await TestVault.create(waiting);
  it.service.fail({ operation: "uploadArchive", error: new ServiceError("unavailable", "503"), times: 1e9 });
  const { error, tookMs } = await closed(it);
  expect(error).toBeInstanceOf(FileSystemError);
  expect(error).toMatchObject({ kind: "unavailable", message: expect.stringContaining("503") });
  expect(tookMs).toBeGreaterThanOrEqual(60_000);
  // Not later than the pause that was under way at the end of its patience.
  expect(tookMs).toBeLessThan(200_000);
});

test("with --commit archived close() succeeds after failures that pass within --stall-timeout", async () => {
  await using it = await TestVault.create(waiting);
  it.service.fail({ operation: "uploadArchive", error: new ServiceError("unavailable", "503"), times: 3 });
  expect((await closed(it)).error).toBeUndefined();
  expect(it.archived()).toEqual(["text"]);
});

test("with --commit archived close() of a file that was written again meanwhile waits for the newest", async () => {
  await using it = await TestVault.create(waiting);
  await it.write("a", "first");
  expect(it.archived()).toEqual(["first"]);
});

test("an upload that fails says in user.casfs.error why and when it goes on, also after a restart; it is not listed", async () => {
  await using it = await TestVault.create();
  it.service.fail({ operation: "uploadArchive", error: new ServiceError("denied", "the key is wrong"), times: 1e9 });
  await it.write("a", "text");
  const error = () => {
    try {
      return it.xattr("a", "user.casfs.error");
    } catch (missing) {
      if (missing instanceof CasfsError && missing.kind === "no-attribute") return undefined;
      throw missing;
    }
  };
  expect(error()).toBeUndefined();
  await it.until(() => it.uploads.failure(it.record("a").content!.id)?.nextAttemptAt != null);
  const next = new Date(it.uploads.snapshot()[0]!.nextAttemptAt!).toISOString();
  expect(error()).toBe(`upload attempt 1 failed: the key is wrong; next ${next}`);
  expect(it.fs.extendedAttributes.list(it.ino("a"))).toEqual([]);
  await it.reopen();
  expect(error()).toBe(`upload attempt 1 failed: the key is wrong; next ${next}`);
});

test("an error of the upload before the crash does not outlive its success", async () => {
  await using it = await TestVault.create();
  it.service.fail({ operation: "uploadArchive", error: new ServiceError("unavailable", "503") });
  await it.writeArchived("a", "text");
  expect(it.events).toContainEqual(expect.objectContaining({ type: "upload-failed", message: "503" }));
  expect(() => it.xattr("a", "user.casfs.error")).toThrow(expect.objectContaining({ kind: "no-attribute" }));
});

test("one file whose upload fails for hours keeps no other from the vault", async () => {
  await using it = await TestVault.create();
  it.service.onCall = (operation, [, archive]) => {
    if (operation === "uploadArchive" && JSON.stringify(archive).includes("large"))
      throw new ServiceError("refused", "no");
  };
  await it.write("large", "is refused");
  await it.clock.advance(minutes(10));
  await it.write("small", "text");
  const isRetrying = () => it.uploads.snapshot().every(({ state }) => state === "retrying");
  await it.until(() => it.uploads.size === 1 && isRetrying(), { limitMs: 20_000 });
  expect(it.archived()).toEqual(["text"]);
  expect(it.xattr("large", "user.casfs.error")).toContain("no; next");
});
