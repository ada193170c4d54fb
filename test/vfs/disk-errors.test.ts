/** A disk that does not take what was written: the kernel says so once, casfs remembers it. */

import { expect, test } from "vitest";
import { hours } from "../../src/domain/time.js";
import { rewriting, TestVault, writing } from "../support/test-file-system.js";

const eio = Object.assign(new Error("EIO: i/o error, fdatasync"), { code: "EIO" });

/** A vault whose disk fails the first `count` syncs after `break`. */
async function onBadDisk() {
  const disk = { failures: 0 };
  const it = await TestVault.create({
    onStep: (step) => {
      if (step !== "after sync" || disk.failures === 0) return;
      disk.failures -= 1;
      throw eio;
    },
  });
  return { it, disk };
}

test("a file that the disk did not take fails fsync(), again and again, and close(); it is kept and not uploaded", async () => {
  const { it, disk } = await onBadDisk();
  await using _it = it;
  await it.writeArchived("a", "good");
  const handle = await it.open("a", rewriting);
  await it.pwrite(handle, 0, Buffer.from("perhaps lost"));
  disk.failures = 1;
  await expect(it.fs.contents.fsync(handle)).rejects.toBe(eio);
  await expect(it.fs.contents.fsync(handle)).rejects.toBe(eio);
  await expect(it.flush(handle)).rejects.toBe(eio);
  await it.fs.release(handle);
  await it.write("b", "another");
  await it.pass(hours(2));
  await it.until(() => it.uploads.size === 0);
  expect(it.state("a")).toBe("interrupted");
  expect(it.archived()).toEqual(["another", "good"]);
  expect(await it.text("a")).toBe("perhaps lost");
  await it.reopen();
  await it.pass(hours(2));
  expect(it.archived()).toEqual(["another", "good"]);
  await it.write("a", "written again");
  await it.archiveAll();
  expect(it.archived()).toEqual(["another", "written again"]);
});

test("syncfs() syncs the other files too, and fails", async () => {
  const { it, disk } = await onBadDisk();
  await using _it = it;
  const handles: number[] = [];
  for (const name of ["a", "b"]) {
    handles.push(await it.open(name, writing));
    await it.pwrite(handles.at(-1)!, 0, Buffer.from(name));
  }
  disk.failures = 1;
  await expect(it.fs.syncAll()).rejects.toBe(eio);
  await it.reopen({ powerLoss: true });
  expect(await it.text("b")).toBe("b");
  expect(it.state("b")).not.toBe("interrupted");
});
