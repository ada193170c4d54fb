/** `casfs restore --range`: no more than the part is ordered, and what is written is one version of it, or nothing. */

import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PartOutput, requirePart } from "../../src/cli/restored-part.js";
import { MIB } from "../../src/domain/bytes.js";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "casfs-part-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const never = new AbortController().signal;
const whole = { start: 0, end: 3 * MIB };

/** A file of which every MiB is read of the version that `versionAt` names. */
function mountOf(versionAt: (start: number) => string) {
  return {
    async readRestored({ start, length }: { readonly start: number; readonly length: number }) {
      const archiveId = versionAt(start);
      return { data: Buffer.alloc(length, archiveId).toString("base64"), archiveId };
    },
  };
}

test("bytes of a file that is rewritten meanwhile are never put together with those of its former version", async () => {
  const path = join(directory, "mixed");
  const output = await PartOutput.create(path);
  const mixed = output.fill(
    mountOf((start) => (start < MIB ? "a" : "b")),
    ["photos", "x"],
    whole,
    never,
  );
  await expect(mixed).rejects.toThrow("photos/x was rewritten while it was read");
  await output.remove();
  expect(existsSync(path)).toBe(false);

  const next = await PartOutput.create(path);
  expect(
    await next.fill(
      mountOf(() => "b"),
      ["photos", "x"],
      whole,
      never,
    ),
  ).toBe(3 * MIB);
  expect((await readFile(path)).equals(Buffer.alloc(3 * MIB, "b"))).toBe(true);
});

test("Ctrl-C ends the writing, too", async () => {
  const output = await PartOutput.create(join(directory, "cut"));
  const stop = new AbortController();
  const mount = mountOf((start) => {
    if (start === MIB) stop.abort(new Error("interrupted"));
    return "a";
  });
  await expect(output.fill(mount, ["photos", "x"], whole, stop.signal)).rejects.toThrow("interrupted");
  await output.remove();
  expect(existsSync(join(directory, "cut"))).toBe(false);
});

test("an output has its name when it is whole, and takes nobody else's", async () => {
  const path = join(directory, "late");
  const output = await PartOutput.create(path);
  const mount = mountOf((start) => {
    if (start > 0) expect(existsSync(path)).toBe(false);
    return "a";
  });
  await output.fill(mount, ["photos", "x"], whole, never);
  expect((await readFile(path)).length).toBe(3 * MIB);
  await expect(PartOutput.create(path)).rejects.toThrow("it is there already");

  const second = await PartOutput.create(join(directory, "taken"));
  await writeFile(join(directory, "taken"), "somebody's");
  const other = mountOf(() => "b");
  await expect(second.fill(other, ["photos", "x"], whole, never)).rejects.toThrow("it is there already");
  await second.remove();
  expect(await readFile(join(directory, "taken"), "utf8")).toBe("somebody's");
  expect((await readdir(directory)).filter((name) => name.startsWith("."))).toEqual([]);
});

const part = { path: "photos/old.raw", start: 0, end: MIB, isReadable: false };

test("a mount of an earlier casfs, which passes a range over, is asked for no whole file in its place", () => {
  expect(() => requirePart({ files: 1 } as never, true)).toThrow("this mount knows whole files only");
  expect(() => requirePart({ files: 0, part: null }, false)).not.toThrow(); // All of it is here.
});

test("a part that the mount would not read by itself has to be written to a file", () => {
  expect(() => requirePart({ files: 1, part }, false)).toThrow("Cannot restore a part of photos/old.raw for reading");
  expect(() => requirePart({ files: 1, part }, true)).not.toThrow();
  expect(() => requirePart({ files: 1, part: { ...part, isReadable: true } }, false)).not.toThrow();
});
