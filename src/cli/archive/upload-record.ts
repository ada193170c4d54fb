/**
 * What is remembered of an upload until it is complete, so that the same command goes on with it after a crash.
 *
 * One small file for each upload, mode 0600, durable before the first part is sent. Never: decides that a record is
 * right; the service knows its parts by their hashes.
 */

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type UploadId, uploadId } from "../../domain/ids.js";
import { hours, type Milliseconds } from "../../domain/time.js";
import { removeIfPresent, writeFileDurably } from "../../lib/durable-file.js";
import type { TreeHashHex } from "../../protocol/service.js";
import { treeHashHex } from "../../protocol/tree-hash.js";
import { lockOf } from "../taken-turn.js";

/** What makes two uploads the same: service, vault, file and what is in it by its size and time, description. */
export type UploadKey = Readonly<Record<"service" | "account" | "vault" | "path" | "description", string>> & {
  readonly sizeBytes: number;
  /** In nanoseconds. */
  readonly modifiedAt: string;
};

/** The service forgets an upload after a day; a record is of no use after that. */
const recordLifetimeMs: Milliseconds = hours(48);

const recordSchema = z.object({
  uploadId: z.string().transform(uploadId),
  completing: z.string().transform(treeHashHex).optional(),
});

/** `completing`: all parts were sent, and the service was asked to make an archive of this tree hash. */
export interface RecordedUpload {
  readonly uploadId: UploadId;
  readonly completing?: TreeHashHex | undefined;
}

export class UploadRecord {
  readonly #directory: string;
  readonly #path: string;
  readonly #key: UploadKey;

  constructor(directory: string, key: UploadKey) {
    this.#directory = directory;
    this.#key = key;
    const entries = Object.entries(key).sort(([one], [other]) => (one < other ? -1 : 1));
    const digest = createHash("sha256").update(JSON.stringify(entries)).digest("hex").slice(0, 32);
    this.#path = join(directory, `${digest}.json`);
  }

  /** For as long as the upload runs; undefined while another process has it: two of them would make two archives. */
  lock(): Promise<AsyncDisposable | undefined> {
    return lockOf(["upload", this.#path]);
  }

  /** Undefined when there is none, or it cannot be read: the upload then begins anew. */
  async read(): Promise<RecordedUpload | undefined> {
    try {
      return recordSchema.parse(JSON.parse(await readFile(this.#path, "utf8")));
    } catch {
      return undefined;
    }
  }

  async write(upload: RecordedUpload): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    await writeFileDurably(this.#path, `${JSON.stringify({ ...upload, ...this.#key }, null, 2)}\n`);
  }

  remove(): Promise<void> {
    return removeIfPresent(this.#path);
  }
}

/** Removes records of uploads that the service has forgotten long ago. */
export async function removeOldRecords(directory: string, now: number): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names.filter((other) => other.endsWith(".json"))) {
    const path = join(directory, name);
    const modifiedMs = await stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => now,
    );
    if (now - modifiedMs > recordLifetimeMs) await removeIfPresent(path);
  }
}
