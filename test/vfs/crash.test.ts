/** A crash at every step of an operation that reaches the disk: what close() has promised is there afterwards. */

import { rmSync } from "node:fs";
import { expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { testBytes } from "../support/test-bytes.js";
import { reading, rewriting, TestVault, vault, writing } from "../support/test-file-system.js";

/** Runs `work` and crashes at each of its steps; `check` sees what was promised when the crash came. */
async function crashEverywhere<Promised>(
  prepare: (it: TestVault) => Promise<void>,
  work: (it: TestVault, promise: (value: Promised) => void) => Promise<void>,
  before: Promised,
  check: (it: TestVault, promised: Promised, step: string) => Promise<void>,
): Promise<void> {
  const crashes: { readonly step: string; readonly promised: Promised; readonly directory: string }[] = [];
  let promised = before;
  let isWatching = false;
  const onStep = (step: string) => {
    if (isWatching) crashes.push({ step: `${crashes.length} ${step}`, promised, directory: it.snapshot() });
  };
  await using it = await TestVault.create({ onStep });
  await prepare(it);
  isWatching = true;
  await work(it, (value) => {
    promised = value;
  });
  isWatching = false;
  expect(crashes.length).toBeGreaterThan(1);
  for (const { step, promised, directory } of crashes) {
    await it.reopen({ from: directory });
    await check(it, promised, step);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The texts that the file may have; undefined: it is not there. */
type Allowed = readonly (string | undefined)[];

async function textOf(it: TestVault, path: string): Promise<string | undefined> {
  return it.has(path) ? it.text(path) : undefined;
}

async function expectAllowed(it: TestVault, allowed: Allowed, step: string): Promise<void> {
  expect(allowed, step).toContain(await textOf(it, "a"));
}

test("creating: after close() the file is there as it was written", () =>
  crashEverywhere<Allowed>(
    async () => {},
    async (it, promise) => {
      promise([undefined, "", "hel", "hello"]);
      const handle = await it.open("a", writing);
      await it.pwrite(handle, 0, Buffer.from("hel"));
      await it.pwrite(handle, 3, Buffer.from("lo"));
      await it.flush(handle);
      promise(["hello"]);
      await it.fs.release(handle);
    },
    [undefined],
    async (it, allowed, step) => {
      await expectAllowed(it, allowed, step);
      await it.archiveAll();
      if (allowed.length === 1) expect(it.archived(), step).toContain("hello");
    },
  ));

test.each(["staged", "archived"])(
  "rewriting a file that is %s: until close() the old bytes or those written, then the new",
  (state) =>
    crashEverywhere<Allowed>(
      (it) => (state === "staged" ? it.write("a", "old") : it.writeArchived("a", "old")),
      async (it, promise) => {
        const handle = await it.open("a", rewriting);
        promise(["old", "new"]);
        await it.pwrite(handle, 0, Buffer.from("new"));
        await it.flush(handle);
        promise(["new"]);
        await it.fs.release(handle);
      },
      ["old"],
      async (it, allowed, step) => {
        await expectAllowed(it, allowed, step);
        await it.archiveAll();
        // The good archive is not deleted for bytes that nobody has promised.
        if (!allowed.includes("new") && state === "archived") expect(it.archived(), step).toContain("old");
      },
    ),
);

test.each(["staged", "archived"])("`: > file` of a file that is %s: after close() it is empty", (state) =>
  crashEverywhere<Allowed>(
    (it) => (state === "staged" ? it.write("a", "old") : it.writeArchived("a", "old")),
    async (it, promise) => {
      const handle = await it.open("a", rewriting);
      promise(["old", ""]);
      await it.flush(handle);
      promise([""]);
      await it.fs.release(handle);
    },
    ["old"],
    expectAllowed,
  ),
);

test.each(["staged", "archived"])("writing into a file that is %s: never less than what was there", (state) =>
  crashEverywhere<Allowed>(
    (it) => (state === "staged" ? it.write("a", "old text") : it.writeArchived("a", "old text")),
    async (it, promise) => {
      const handle = await it.open("a", writing);
      promise(["old text", "new text"]);
      await it.pwrite(handle, 0, Buffer.from("new"));
      await it.flush(handle);
      promise(["new text"]);
      await it.fs.release(handle);
    },
    ["old text"],
    expectAllowed,
  ),
);

test("truncate(2): the old size or the new", () =>
  crashEverywhere<Allowed>(
    (it) => it.writeArchived("a", "old text"),
    async (it, promise) => {
      promise(["old text", "old"]);
      await it.fs.setAttributes(it.ino("a"), { sizeBytes: 3 });
      promise(["old"]);
    },
    ["old text"],
    expectAllowed,
  ));

test("rename over a file: one of the two at every moment, and the old archive only goes after the new one is there", () =>
  crashEverywhere<Allowed>(
    async (it) => {
      await it.writeArchived("a", "old");
      await it.write("b", "new");
    },
    async (it, promise) => {
      promise(["old", "new"]);
      await it.rename("b", "a");
      promise(["new"]);
    },
    ["old"],
    async (it, allowed, step) => {
      await expectAllowed(it, allowed, step);
      it.service.onCall = (operation) => {
        if (operation === "deleteArchive") expect(it.archived(), step).toContain("new");
      };
      await it.archiveAll();
    },
  ));

test("a crash while a reader still has the replaced file open does not delete its archive before the new one is there", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "old");
  await it.open("a", reading);
  await it.write("b", "new");
  await it.rename("b", "a");
  await it.reopen();
  const deletedWith: string[][] = [];
  it.service.onCall = (operation) => {
    if (operation === "deleteArchive") deletedWith.push(it.archived());
  };
  await it.archiveAll();
  await it.until(() => it.archived().length === 1);
  expect(deletedWith).toEqual([["new", "old"]]);
  expect(it.archived()).toEqual(["new"]);
});

test("unlink: there or gone, and nothing left behind", () =>
  crashEverywhere<Allowed>(
    (it) => it.write("a", "text"),
    async (it, promise) => {
      promise(["text", undefined]);
      await it.unlink("a");
      promise([undefined]);
    },
    ["text"],
    async (it, allowed, step) => {
      await expectAllowed(it, allowed, step);
      expect(await it.staging.list(), step).toHaveLength(it.has("a") ? 1 : 0);
    },
  ));

test("fsync: the written bytes are there, and uploaded, also after a power loss", async () => {
  await using it = await TestVault.create();
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("text"));
  await it.fs.contents.fsync(handle);
  await it.reopen({ powerLoss: true });
  expect(await it.text("a")).toBe("text");
  await it.archiveAll();
  expect(it.archived()).toEqual(["text"]);
});

test("fsync and close: the same", async () => {
  await using it = await TestVault.create();
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("text"));
  await it.fs.contents.fsync(handle);
  await it.close(handle);
  await it.reopen({ powerLoss: true });
  await it.archiveAll();
  expect(it.archived()).toEqual(["text"]);
});

test("a write after fsync is suspect again after a power loss", async () => {
  await using it = await TestVault.create();
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("text"));
  await it.fs.contents.fsync(handle);
  await it.pwrite(handle, 4, Buffer.from("!"));
  await it.close(handle);
  await it.reopen({ powerLoss: true });
  expect(it.state("a")).toBe("interrupted");
});

test("a crash while it is uploaded in parts: the upload goes on, and ends in one archive", async () => {
  await using it = await TestVault.create({ multipartThresholdBytes: 1000 });
  const bytes = testBytes(34 * MIB);
  await it.write("a", bytes);
  let crashed: string | undefined;
  it.service.onCall = (operation) => {
    if (operation === "completeMultipartUpload") crashed ??= it.snapshot();
  };
  await it.until(() => crashed !== undefined);
  await it.reopen({ from: crashed! });
  await it.archiveAll();
  expect(it.service.archivesOf(vault).map((archive) => archive.bytes.equals(bytes))).toEqual([true]);
  expect((await it.read("a")).equals(bytes)).toBe(true);
});
