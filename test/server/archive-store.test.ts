import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { byteRange, MIB } from "../../src/domain/bytes.js";
import type { ArchiveId, VaultName } from "../../src/domain/ids.js";
import { ArchiveStore } from "../../src/server/store/archive-store.js";
import { FakeClock } from "../support/fake-clock.js";
import { readAll, testBytes } from "../support/test-bytes.js";
import { bodyFiles } from "./local-server.js";

let directory: string;
const clock = new FakeClock();
const open = () => ArchiveStore.open(directory, { clock, randomBytes });
const source = (bytes: Uint8Array) => ({ stream: Readable.from([bytes]), signal: new AbortController().signal });

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "casfs-store-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function storedArchive(store: ArchiveStore, bytes: Uint8Array): Promise<string> {
  const vault = store.vault("1", "v" as VaultName);
  return store.storeArchive(vault, { file: await store.receive(source(bytes)), description: "" });
}

describe("Start", () => {
  test("removes unfinished files and files that no row knows, and keeps the others", async () => {
    const first = await open();
    first.createVault("1", "v" as VaultName);
    const kept = await storedArchive(first, testBytes(1000));
    const orphan = await first.receive(source(testBytes(10)));
    await orphan.publish();
    await first.receive(source(testBytes(10)));
    await first.close();
    await writeFile(join(directory, "bodies", "0", "not-ours"), "");
    expect((await bodyFiles(directory)).length).toBe(4);

    const second = await open();
    expect((await bodyFiles(directory)).sort()).toEqual(["1", "not-ours"]);
    const archive = second.archives.find(second.vault("1", "v" as VaultName).vault_key, kept as ArchiveId);
    const bytes = await readAll(second.readBody(archive!.body_key!, byteRange(10, 500)));
    expect(bytes.equals(testBytes(1000).subarray(10, 500))).toBe(true);
    // A number that an orphan had is not given again.
    expect((await second.receive(source(testBytes(1)))).fileId).toBe(4);
    await second.close();
  });

  test("nobody else can read the database or its log, also in a directory that all can read", async () => {
    await chmod(directory, 0o755);
    const store = await open();
    for (const name of ["metadata.db", "metadata.db-wal"]) {
      expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600);
    }
    await store.close();
  });

  test("a newer format is refused and left alone", async () => {
    const store = await open();
    store.transaction(() => undefined);
    await store.close();
    const { default: Database } = await import("better-sqlite3");
    const database = new Database(join(directory, "metadata.db"));
    database.pragma("user_version = 99");
    database.close();
    await expect(open()).rejects.toThrow(/its format 99 is newer than \d+$/);
  });

  test("a second store on the directory is refused, in the same process too", async () => {
    const store = await open();
    await expect(open()).rejects.toThrow(`process ${process.pid} is serving it`);
    await store.close();
    await (await open()).close();
  });
});

describe("Reading", () => {
  test("goes on to its end when the archive is deleted meanwhile; then the files go", async () => {
    const store = await open();
    store.createVault("1", "v" as VaultName);
    const vault = store.vault("1", "v" as VaultName);
    const bytes = testBytes(3 * MIB);
    const id = await storedArchive(store, bytes);
    const { body_key: bodyKey } = store.archives.find(vault.vault_key, id)!;
    const reading = store.readBody(bodyKey!, byteRange(0, bytes.length));
    const first = Buffer.from((await reading.next()).value as Buffer);
    store.deleteArchive(vault, id);
    const rest = await readAll(reading);
    expect(Buffer.concat([first, rest]).equals(bytes)).toBe(true);
    await expect.poll(() => bodyFiles(directory)).toEqual([]);
    await store.close();
  });

  test("a file that is missing or short is an error and never other bytes", async () => {
    const store = await open();
    store.createVault("1", "v" as VaultName);
    const id = await storedArchive(store, testBytes(5000));
    const { body_key: bodyKey } = store.archives.find(store.vault("1", "v" as VaultName).vault_key, id)!;
    const path = join(directory, "bodies", "0", "1");
    await writeFile(path, testBytes(4000));
    await expect(readAll(store.readBody(bodyKey!, byteRange(0, 5000)))).rejects.toThrow("ends before byte 5000");
    await rm(path);
    await expect(readAll(store.readBody(bodyKey!, byteRange(0, 5000)))).rejects.toThrow("Cannot open");
    await store.close();
  });
});
