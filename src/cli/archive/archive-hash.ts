/** The work of `casfs archive hash`: the hashes of a file as the service computes them (cas-api section 13). */

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { type ByteCount, type ByteRange, byteRange, MIB } from "../../domain/bytes.js";
import { FileSystemError } from "../../domain/errors.js";
import { type ContentDigest, TreeHasher } from "../../protocol/tree-hash.js";
import { CommandLineError } from "../failure.js";
import { ofInputFile } from "../input-file.js";
import { jsonOutput } from "../output.js";
import { TransferProgress } from "../progress.js";
import { fieldLines } from "../table.js";
import type { Terminal } from "../terminal.js";

interface HashFlags {
  readonly json?: boolean;
  readonly start?: ByteCount;
  readonly end?: ByteCount;
}

export async function hash(file: string, flags: HashFlags, terminal: Terminal): Promise<void> {
  const { sizeBytes, sha256, treeHash } = await digestOfFile(file, flags, terminal);
  if (flags.json) return terminal.print(jsonOutput({ sizeInBytes: sizeBytes, sha256, treeHash }));
  for (const line of fieldLines([["sha256", sha256] as const, ["tree hash", treeHash] as const])) terminal.print(line);
}

/** Reads a file once, or the bytes from `start` to `end` of it; `-` is standard input. */
export async function digestOfFile(
  file: string,
  { start, end }: { readonly start?: ByteCount; readonly end?: ByteCount },
  terminal: Terminal,
): Promise<ContentDigest> {
  const range = file === "-" ? undefined : await rangeOfFile(file, { start, end });
  if (range === undefined && (start !== undefined || end !== undefined)) {
    throw new CommandLineError("Cannot use --start or --end with standard input");
  }
  using progress = new TransferProgress(terminal, file);
  const hasher = new TreeHasher();
  let done = 0;
  for await (const piece of range === undefined ? process.stdin : streamOf(file, range)) {
    hasher.update(piece);
    done += piece.length;
    if (range !== undefined) progress.update(done, range.end - range.start);
  }
  return hasher.digest();
}

async function rangeOfFile(
  file: string,
  { start, end }: { readonly start: ByteCount | undefined; readonly end: ByteCount | undefined },
): Promise<ByteRange> {
  const stats = await ofInputFile(file, stat(file));
  if (!stats.isFile()) throw new FileSystemError("invalid", `Cannot hash ${file}: it is not a regular file`);
  const { size } = stats;
  const range = { start: start ?? 0, end: end ?? size };
  if (range.end > size) throw new CommandLineError(`Cannot use --end ${range.end}: ${file} has ${size} bytes`);
  if (range.start < range.end) return byteRange(range.start, range.end);
  throw new CommandLineError(
    size === 0 ? `Cannot hash ${file}: it is empty, and there is no tree hash of nothing` : "Cannot use an empty range",
  );
}

function streamOf(file: string, range: ByteRange): AsyncIterable<Buffer> {
  return createReadStream(file, { start: range.start, end: range.end - 1, highWaterMark: MIB });
}
