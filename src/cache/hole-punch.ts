/**
 * Frees the disk of a part of a file, whose length stays.
 *
 * Node has no fallocate(2), and the program of util-linux is on every Linux that has mount(8): one short process for a
 * part of many MiB. The file stays one file, so that everything else reads, hashes, cuts and moves it as any other.
 */

import { execFile } from "node:child_process";
import { open, rm } from "node:fs/promises";
import { promisify } from "node:util";
import type { ByteRange } from "../domain/bytes.js";
import { rangeLength } from "../domain/bytes.js";

const run = promisify(execFile);

/** @throws the program's error, or that it is not there. */
export async function punchHole(path: string, range: ByteRange): Promise<void> {
  const place = ["--offset", String(range.start), "--length", String(rangeLength(range))];
  // Never a directory of the own mount: looking at it would wait for this process.
  await run("fallocate", ["--punch-hole", ...place, path], { cwd: "/", env: { PATH: programPath, LC_ALL: "C" } });
}

// Where a daemon has no PATH, too.
const programPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const probeBytes = 64 * 1024;

/** Tries it on a new file at `path`, which is removed. @throws as `punchHole`, or when nothing was freed. */
export async function probeHolePunching(path: string): Promise<void> {
  const file = await open(path, "w", 0o600);
  try {
    await file.write(Buffer.alloc(probeBytes, 1));
    await file.sync();
    const before = (await file.stat()).blocks;
    await punchHole(path, { start: 0, end: probeBytes } as ByteRange);
    if ((await file.stat()).blocks >= before) throw new Error("the file system keeps the blocks of a hole");
  } finally {
    await file.close();
    await rm(path, { force: true });
  }
}
