/**
 * Where the service on a data directory can be reached: `server.json` (mode 0600), there while it runs.
 *
 * Never: trusted without asking. A killed server leaves the file, and its port may belong to somebody else by now;
 * whoever reads it calls the service with a signature first.
 */

import { readFileSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { writeFileDurably } from "../lib/durable-file.js";
import { jsonOrUndefined } from "../lib/json-text.js";

export interface ServerAddress {
  /** `http://HOST:PORT` */
  readonly url: string;
  readonly pid: number;
}

const addressSchema = z.object({ url: z.url(), pid: z.int().positive() });

/** Undefined when no server runs on `directory`, as far as the file tells: its process is there. */
export async function serverAddress(directory: string): Promise<ServerAddress | undefined> {
  const content = await readFile(pathIn(directory), "utf8").catch(() => undefined);
  const address = content === undefined ? undefined : parseAddress(content);
  return address !== undefined && isRunning(address.pid) ? address : undefined;
}

/** Publishes the address of the server of this process until it is disposed. */
export async function publishAddress(directory: string, url: string): Promise<Disposable> {
  await writeFileDurably(pathIn(directory), `${JSON.stringify({ url, pid: process.pid })}\n`);
  return { [Symbol.dispose]: () => withdraw(directory, url) };
}

/** Not the address of a server that has started on the same directory meanwhile. */
function withdraw(directory: string, url: string): void {
  try {
    const published = parseAddress(readFileSync(pathIn(directory), "utf8"));
    if (published?.url === url && published.pid === process.pid) rmSync(pathIn(directory));
  } catch {
    // It is gone already, or the directory is; what is left is recognized as stale.
  }
}

const pathIn = (directory: string) => join(directory, "server.json");

function parseAddress(content: string): ServerAddress | undefined {
  const parsed = addressSchema.safeParse(jsonOrUndefined(content));
  return parsed.success ? parsed.data : undefined;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // A process of another user is there too.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
