/**
 * Access keys: what they are made of, and those of a local service.
 *
 * Relies on: a file with a key is readable by its owner only. Never: prints a key or puts one into an error.
 */

import { randomBytes } from "node:crypto";
import { link, mkdir, open, readFile, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { UsageError } from "../domain/errors.js";
import { syncDirectory } from "../lib/durable-file.js";
import { jsonOrUndefined } from "../lib/json-text.js";

/** Whose requests these are (cas-api section 3). `appId` is an account number, or `-` for the key's own account. */
export interface Credentials {
  readonly appId: string;
  readonly secretId: string;
  readonly secretKey: string;
}

const fileSchema = z.object({ appId: z.string().min(1), secretId: z.string().min(1), secretKey: z.string().min(1) });

/**
 * The access key of the local service on `directory`, made up at first use and kept in `credentials.json` (mode 0600).
 *
 * @throws UsageError if the file is readable by everybody or is not what was written.
 */
export async function localCredentials(directory: string): Promise<Credentials> {
  const path = join(directory, "credentials.json");
  const known = await readCredentials(path);
  if (known !== undefined) return known;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await createExclusively(path, `${JSON.stringify(newCredentials(), null, 2)}\n`);
  const created = await readCredentials(path); // of this process, or of one that was quicker
  if (created === undefined) throw new UsageError(`Cannot find ${path} after writing it`);
  return created;
}

/** @throws UsageError if everybody may read the file at `path`, which holds a secret key. */
export async function refuseWorldReadable(path: string): Promise<void> {
  const { mode } = await stat(path);
  if ((mode & 0o004) === 0) return;
  throw new UsageError(`Cannot use the secret key in ${path}: every user of this machine can read it`, {
    hint: `Run \`chmod 600 ${path}\``,
  });
}

async function readCredentials(path: string): Promise<Credentials | undefined> {
  const content = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new UsageError(`Cannot read ${path}`, { cause: error });
  });
  if (content === undefined) return undefined;
  await refuseWorldReadable(path);
  const parsed = fileSchema.safeParse(jsonOrUndefined(content));
  if (!parsed.success) {
    throw new UsageError(`Cannot use ${path}: it is not a file of access keys`, {
      hint: "Restore it; without it the data beside it cannot be used",
    });
  }
  return parsed.data;
}

function newCredentials(): Credentials {
  return {
    appId: "-",
    secretId: `local${randomBytes(12).toString("hex")}`,
    secretKey: randomBytes(24).toString("base64url"),
  };
}

/** Whole or not at all, and never over a file of another process: a name is linked only when it is free. */
async function createExclusively(path: string, content: string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  const handle = await open(temporary, "wx", 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await link(temporary, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  await unlink(temporary);
  await syncDirectory(join(path, ".."));
}
