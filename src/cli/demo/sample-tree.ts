/** Real input for the demo: part of a source tree that every installation has, and one file that needs many parts. */

import { randomFillSync } from "node:crypto";
import { lstat, mkdir, open, readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { MIB } from "../../domain/bytes.js";
import { formatSize } from "../../lib/amount-text.js";
import type { Programs } from "./programs.js";

/** Above the limit for one request, so that it goes in parts of 16 MiB. */
export const bigFile = { name: "big-file.bin", sizeBytes: 208 * MIB };

const wanted = { files: 1000, bytes: 50 * MIB, bytesOfPackage: 8 * MIB };

export interface Sample {
  /** What it is, in words. */
  readonly text: string;
  /** Of which there will be no archives: the service has none of zero bytes. */
  readonly emptyFiles: number;
}

/** Fills the new directory `target`. */
export async function makeSampleTree(target: string, programs: Programs): Promise<Sample> {
  await mkdir(target);
  const home = await packagesHome();
  const chosen = await choosePackages(home);
  const sources = chosen.names.map((name) => join(home, name));
  await programs.run("cp", ["-a", "--", ...sources, target]);
  await writeBigFile(join(target, bigFile.name), programs.signal);
  const links = chosen.links === 0 ? "" : ` and ${chosen.links} symbolic links`;
  const packages = `${chosen.files} files${links} of real packages, ${formatSize(chosen.bytes)}`;
  return {
    text: `${packages}; and one file of ${formatSize(bigFile.sizeBytes)}`,
    emptyFiles: chosen.emptyFiles,
  };
}

/** Where the packages that casfs uses are installed: below it, or beside it. */
async function packagesHome(): Promise<string> {
  const root = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
  const below = join(root, "node_modules");
  const beside = dirname(root);
  const isDirectory = await stat(below).then(
    (found) => found.isDirectory(),
    () => false,
  );
  return isDirectory || basename(beside) !== "node_modules" ? below : beside;
}

interface Contents {
  files: number;
  emptyFiles: number;
  links: number;
  bytes: number;
}

const nothing: Readonly<Contents> = { files: 0, emptyFiles: 0, links: 0, bytes: 0 };

/** Whole packages, in the order of their names, as long as they fit. */
async function choosePackages(home: string): Promise<Contents & { readonly names: readonly string[] }> {
  const names: string[] = [];
  const total = { ...nothing };
  for (const name of (await readdir(home)).sort()) {
    if (total.files >= wanted.files) break;
    const contents = await measure(join(home, name));
    if (contents.bytes > wanted.bytesOfPackage || total.bytes + contents.bytes > wanted.bytes) continue;
    if (total.files + contents.files > wanted.files * 1.2) continue;
    names.push(name);
    for (const count of ["files", "emptyFiles", "links", "bytes"] as const) total[count] += contents[count];
  }
  return { ...total, names };
}

async function measure(path: string): Promise<Contents> {
  const total = { ...nothing };
  const isDirectory = (await lstat(path)).isDirectory();
  const below = isDirectory ? await readdir(path, { recursive: true, withFileTypes: true }) : [];
  for (const place of [path, ...below.map((entry) => join(entry.parentPath, entry.name))]) {
    const found = await lstat(place);
    if (found.isSymbolicLink()) total.links += 1;
    if (!found.isFile()) continue;
    total.files += 1;
    total.emptyFiles += found.size === 0 ? 1 : 0;
    total.bytes += found.size;
  }
  return total;
}

async function writeBigFile(path: string, signal: AbortSignal): Promise<void> {
  const piece = Buffer.alloc(MIB);
  const file = await open(path, "wx");
  try {
    for (let written = 0; written < bigFile.sizeBytes; written += piece.length) {
      signal.throwIfAborted();
      await file.write(randomFillSync(piece));
    }
  } finally {
    await file.close();
  }
}
