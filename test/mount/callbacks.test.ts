/** `--callback`: the service says when a job has ended, and is asked only in case it does not. */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { casfs, type RunningCasfs, startCasfs, TestMount } from "../support/casfs-process.js";
import { whyNoMount } from "../support/fuse-environment.js";

const reason = whyNoMount();
const key = { CASFS_APP_ID: "-", CASFS_SECRET_ID: "callbacks", CASFS_SECRET_KEY: "callbacks-key" };

describe.skipIf(reason !== undefined)(`callbacks${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: TestMount;
  let server: RunningCasfs;
  let url: string;
  const endpoint = () => server.line.replace("listening on ", "");

  beforeAll(async () => {
    mount = await TestMount.make();
    url = `http://127.0.0.1:${await freePort()}/jobs`;
    server = await startCasfs(
      ["serve", "--listen", "127.0.0.1:0", "--data", mount.data, "--retrieval", "standard=2s"],
      key,
    );
    await mount.mount(["--endpoint", endpoint(), "--settle", "0s", "--callback", url], key);
    await mkdir(mount.path("told"));
    await writeFile(mount.path("told/a"), "cold bytes");
    expect(await casfs("wait", mount.path("told"))).toMatchObject({ status: 0 });
    expect(await casfs("evict", mount.path("told"))).toMatchObject({ status: 0 });
  });

  afterAll(async () => {
    await mount?.[Symbol.asyncDispose]();
    await server?.stop();
  });

  test("an open waits for the message and not for the next question, which would be half a minute later", async () => {
    const startedAt = Date.now();
    expect(await readFile(mount.path("told/a"), "utf8")).toBe("cold bytes");
    expect(Date.now() - startedAt).toBeLessThan(20_000);
    const options = ["--endpoint", endpoint(), "--secret-id", "callbacks", "--secret-key", "callbacks-key"];
    const configured = await casfs("vault", "notify", "get", "told", "--json", ...options);
    expect(configured.stdout).toContain(url);
  });

  test("what is no message of the service is refused, and harms nobody", async () => {
    for (const [method, path, body] of [
      ["GET", "", undefined],
      ["POST", "/elsewhere", "{}"],
      ["POST", "", "no JSON"],
      ["POST", "", JSON.stringify({ VaultQCS: 7 })],
      ["POST", "", "x".repeat(100_000)],
    ] as const) {
      const answer = await fetch(url + path, { method, ...(body === undefined ? {} : { body }) }).catch(
        () => undefined,
      );
      expect(answer?.status ?? 400).toBe(400);
    }
    const known = await fetch(url, { method: "POST", body: JSON.stringify({ VaultQCS: "told" }) });
    expect(known.status).toBe(204);
    expect((await mount.status()).mountpoint).toBe(mount.mountpoint);
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { readonly port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
