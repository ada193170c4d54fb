import { chmod, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { localCredentials } from "../../src/config/credentials.js";
import { UsageError } from "../../src/domain/errors.js";

let parent: string;
let directory: string;

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "casfs-credentials-"));
  directory = join(parent, "service");
});
afterEach(() => rm(parent, { recursive: true }));

test("a local service gets a key of its own that only the owner can read, and keeps it", async () => {
  const first = await localCredentials(directory);
  expect(await localCredentials(directory)).toEqual(first);
  expect((await stat(join(directory, "credentials.json"))).mode & 0o777).toBe(0o600);
});

test("services that start at the same time agree on one key and leave nothing else behind", async () => {
  const all = await Promise.all(Array.from({ length: 8 }, () => localCredentials(directory)));
  expect(new Set(all.map(({ secretKey }) => secretKey)).size).toBe(1);
  expect(await readdir(directory)).toEqual(["credentials.json"]);
});

test("a key that everybody can read is refused", async () => {
  await localCredentials(directory);
  await chmod(join(directory, "credentials.json"), 0o644);
  await expect(localCredentials(directory)).rejects.toMatchObject({ hint: expect.stringContaining("chmod 600") });
});

test("a damaged file is refused without repeating what it holds, and is not replaced", async () => {
  await localCredentials(directory);
  await writeFile(join(directory, "credentials.json"), '{"secretKey": "hush-hush"');
  const failure = (await localCredentials(directory).catch((error: unknown) => error)) as UsageError;
  expect(failure).toBeInstanceOf(UsageError);
  expect(`${failure.message} ${String(failure.cause)}`).not.toContain("hush");
});
