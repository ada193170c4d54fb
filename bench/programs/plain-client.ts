/**
 * `plain-client upload|download|small|copy URL …`: what moving the same bytes over plain node:http takes, as a reference.
 *
 * `upload URL FILE` and `download URL FILE` read or write FILE, and then read it once more to hash it. `small URL COUNT
 * BYTES CONCURRENCY` sends COUNT bodies. `copy SOURCE TARGET` needs no server: it hashes SOURCE, and copies it, synced.
 * Prints what it took as JSON.
 */

import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, statSync } from "node:fs";
import { copyFile, open } from "node:fs/promises";
import { Agent, type IncomingMessage, request } from "node:http";
import { pipeline } from "node:stream/promises";
import { inParallel, measured } from "./measured.js";

const [task, url, ...rest] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true });
const highWaterMark = 1024 * 1024;

const tasks: Readonly<Record<string, () => Promise<void>>> = {
  async upload() {
    const file = rest[0]!;
    await put("large", statSync(file).size, createReadStream(file, { highWaterMark }));
    await hash(file);
  },
  async download() {
    const file = rest[0]!;
    const response = await answered(request(`${url}/large`, { agent }).end());
    await pipeline(response, createWriteStream(file, { highWaterMark }));
    await hash(file);
  },
  async copy() {
    const [source, target] = [url!, rest[0]!];
    await hash(source);
    await copyFile(source, target);
    const copy = await open(target, "r+");
    await copy.datasync();
    await copy.close();
  },
  async small() {
    const [count, sizeBytes, concurrency] = rest.map(Number) as [number, number, number];
    await inParallel(count, concurrency, (index) => put(`small-${index}`, sizeBytes, Buffer.alloc(sizeBytes, index)));
  },
};

await measured(tasks[task!]!);
agent.destroy();

async function put(name: string, sizeBytes: number, body: Buffer | NodeJS.ReadableStream): Promise<void> {
  const sent = request(`${url}/${name}`, { method: "PUT", agent, headers: { "content-length": sizeBytes } });
  const answer = answered(sent);
  if (Buffer.isBuffer(body)) sent.end(body);
  else await pipeline(body, sent);
  (await answer).resume();
}

function answered(sent: ReturnType<typeof request>): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    sent.once("response", resolve).once("error", reject);
  });
}

async function hash(file: string): Promise<string> {
  const digest = createHash("sha256");
  await pipeline(createReadStream(file, { highWaterMark }), digest);
  return digest.digest("hex");
}
