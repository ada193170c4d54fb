/** `casfs fsck`: every kind of damage is found, and only damage; nothing is changed but damaged copies. */

import { existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { FsckReport } from "../../src/app/control-api.js";
import { runFsck } from "../../src/app/fsck.js";
import { checkStateDirectory } from "../../src/app/state-check.js";
import { HashPool } from "../../src/cache/hash-pool.js";
import { CacheLayout } from "../../src/cache/layout.js";
import { fsckLines } from "../../src/cli/fsck-text.js";
import { byteRange, MIB } from "../../src/domain/bytes.js";
import { windowsAround } from "../../src/protocol/archive-window.js";
import { testBytes } from "../support/test-bytes.js";
import { TestVault } from "../support/test-file-system.js";

const { signal } = new AbortController();
const sorted = (report: FsckReport) => report.problems.map(({ kind, path }) => `${kind} ${path}`).sort();

let it: TestVault;

beforeEach(async () => {
  it = await TestVault.create();
});
afterEach(() => it[Symbol.asyncDispose]());

/** One file that is archived and here, one cold, one staged. @returns the state directory as a crash would leave it. */
async function stateDirectory(): Promise<{
  readonly path: string;
  readonly layout: CacheLayout;
  readonly cachedKey: number;
}> {
  await it.writeCold("cold", "cold bytes");
  await it.writeCold("cached", "cached bytes");
  await it.text("cached");
  await it.write("staged", "staged bytes");
  const path = it.snapshot();
  const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  change(path, `UPDATE content SET boot_id = '${bootId}'`);
  return { path, layout: new CacheLayout(path), cachedKey: it.record("cached").content!.archive! };
}

function change(path: string, ...statements: readonly string[]): void {
  const sql = new BetterSqlite3(join(path, "catalog.db"));
  for (const statement of statements) expect(sql.prepare(statement).run().changes).toBeGreaterThan(0);
  sql.close();
}

describe("a state directory that nobody uses", () => {
  test("without damage has no problems, whatever is staged, cached and cold", async () => {
    const { path } = await stateDirectory();
    const report = await checkStateDirectory(path, { verify: true }, signal);
    expect(report).toMatchObject({
      errors: 0,
      problems: [],
      databaseChecked: true,
      verifiedFiles: 1,
      verifiedBytes: 12,
    });
    expect(report).toMatchObject({ stagedFiles: 1, cachedFiles: 1, archives: 2 });
    expect(fsckLines(report)).toHaveLength(1);
  });

  test("shows bytes that are gone, cut, or nobody's", async () => {
    const { path, layout, cachedKey } = await stateDirectory();
    const staged = layout.staged(it.record("staged").content!.id);
    rmSync(staged);
    truncateSync(layout.cached(cachedKey as never), 3);
    writeFileSync(join(layout.stagingDirectory, "999999"), "whose?");
    mkdirSync(layout.shardDirectory(7), { recursive: true });
    writeFileSync(join(layout.shardDirectory(7), "stranger"), "whose?");
    const report = await checkStateDirectory(path, { verify: false }, signal);
    expect(sorted(report)).toEqual([
      "cached-missing photos/cached",
      `cached-stranger ${layout.shardDirectory(7)}/stranger`,
      "staged-missing photos/staged",
      `staged-stranger ${layout.stagingDirectory}/999999`,
    ]);
    expect(report.errors).toBe(4);
    writeFileSync(staged, "short");
    expect(sorted(await checkStateDirectory(path, { verify: false }, signal))).toContain("staged-short photos/staged");
  });

  test("shows a catalog that contradicts itself", async () => {
    const { path } = await stateDirectory();
    const { ino } = it.record("cold");
    change(
      path,
      "INSERT INTO entry (parent, id, name, ino) SELECT parent, 900001, 'ghost', 900002 FROM entry WHERE name = 'cold'",
      "UPDATE inode SET nlink = 2 WHERE ino = (SELECT ino FROM entry WHERE name = 'cached')",
      "UPDATE inode SET content_id = 900003 WHERE ino = (SELECT ino FROM entry WHERE name = 'staged')",
      "DELETE FROM entry WHERE name = 'cold'",
    );
    expect(sorted(await checkStateDirectory(path, { verify: false }, signal))).toEqual([
      "content-missing photos/staged",
      `file-without-name inode ${ino}`,
      "name-without-file photos/ghost",
      "wrong-link-count photos/cached",
    ]);
  });

  test("shows what inventories lack, what is hidden and what cannot be read", async () => {
    const { path } = await stateDirectory();
    change(
      path,
      "UPDATE archive SET missing_runs = 2 WHERE key = (SELECT archive_key FROM content WHERE size_bytes = 10 AND archive_key IS NOT NULL)",
      "UPDATE archive SET unreadable = 'packed by a newer casfs' WHERE key = (SELECT archive_key FROM cached)",
      `INSERT INTO archive (key, vault_id, archive_id, size_bytes, tree_hash, description, created_at_ms, file_id, version)
        SELECT 900001, vault_id, 'old-version', 5, tree_hash, 'an older one', 1, file_id, 0 FROM archive LIMIT 1`,
    );
    const report = await checkStateDirectory(path, { verify: false }, signal);
    expect(sorted(report)).toEqual([
      "archive-missing photos/cold",
      "archive-unreadable photos/cached",
      "version-hidden an older one",
    ]);
    expect(report.errors).toBe(2);
  });

  test("shows what a power failure may have taken, and that is no error", async () => {
    const { path } = await stateDirectory();
    change(path, "UPDATE content SET boot_id = 'another boot' WHERE phase = 'sealed'");
    const report = await checkStateDirectory(path, { verify: false }, signal);
    expect(report).toMatchObject({ errors: 0, problems: [{ kind: "staged-suspect", severity: "notice" }] });
  });

  test("that is none is an error, not an empty report", async () => {
    await expect(checkStateDirectory("/nowhere", { verify: false }, signal)).rejects.toThrow("no catalog");
  });
});

describe("parts of files", () => {
  test("parts of files are counted, read by --verify, and dropped when they are damaged, cut, or nobody's", async () => {
    await it.writeCold("cold", testBytes(2 * MIB, 1));
    const archive = it.fs.coldOpens.coldArchive(it.record("cold").content!);
    const [window] = windowsAround(byteRange(MIB, 2 * MIB), archive.sizeBytes);
    let isHere = false;
    const recalled = it.recalls.recallWindow(archive, window!, { tier: "standard" }).then(() => {
      isHere = true;
    });
    await it.until(() => isHere);
    await recalled;
    const path = it.snapshot();
    const layout = new CacheLayout(path);
    const whole = await checkStateDirectory(path, { verify: true }, signal);
    expect(whole).toMatchObject({ errors: 0, partialFiles: 1, cachedFiles: 0, verifiedFiles: 1, verifiedBytes: MIB });
    expect(fsckLines(whole)[0]).toContain("0 cached, 1 in part, 1 cached file read");

    const file = layout.partial(archive.key);
    const stranger = join(layout.partialDirectory, "999999");
    writeFileSync(stranger, "whose?");
    const bytes = readFileSync(file);
    bytes[MIB + 7]! ^= 1;
    writeFileSync(file, bytes);
    const damaged = await checkStateDirectory(path, { verify: true }, signal);
    expect(sorted(damaged)).toEqual(["cached-damaged photos/cold", `cached-stranger ${stranger}`]);
    expect(existsSync(file)).toBe(false);
    expect(sorted(await checkStateDirectory(path, { verify: false }, signal))).toContain("cached-missing photos/cold");
    await it.reopen({ from: path });
    expect([existsSync(stranger), it.state("cold")]).toEqual([false, "archived"]);
  });
});

describe("damaged bytes of a cached copy", () => {
  const damaged = Buffer.from("cachXd bytes");

  test("are found by --verify and dropped, and the next open has the right ones", async () => {
    const { path, layout, cachedKey } = await stateDirectory();
    const file = layout.cached(cachedKey as never);
    writeFileSync(file, damaged);
    expect((await checkStateDirectory(path, { verify: false }, signal)).problems).toEqual([]);
    const report = await checkStateDirectory(path, { verify: true }, signal);
    expect(sorted(report)).toEqual(["cached-damaged photos/cached"]);
    expect(existsSync(file)).toBe(false);
    await it.reopen({ from: path });
    expect(await it.text("cached")).toBe("cached bytes");
  });

  test("stay when the vault lacks the archive: there is nothing better", async () => {
    const { path, layout, cachedKey } = await stateDirectory();
    const file = layout.cached(cachedKey as never);
    writeFileSync(file, damaged);
    change(path, "UPDATE archive SET missing_runs = 2 WHERE key = (SELECT archive_key FROM cached)");
    const report = await checkStateDirectory(path, { verify: true }, signal);
    expect(sorted(report)).toEqual(["archive-missing photos/cached", "cached-damaged photos/cached"]);
    expect(readFileSync(file)).toEqual(damaged);
  });

  test("are dropped while the file system goes on, and what is under way is no problem", async () => {
    await stateDirectory();
    const layout = new CacheLayout(it.directory);
    const key = it.record("cached").content!.archive!;
    writeFileSync(layout.cached(key), damaged);
    await using hashPool = new HashPool({ workers: 1 });
    const drop = (archive: typeof key) => it.cache.drop(archive);
    const clock = { now: () => it.clock.now(), sleep: async () => undefined };
    const parts = { check: it.catalog.check(), layout, hashPool, clock, bootId: "first boot", mounted: true, drop };
    const report = await runFsck(parts, { verify: true }, signal);
    expect(sorted(report)).toEqual(["cached-damaged photos/cached"]);
    expect(report.databaseChecked).toBe(false);
    expect(await it.text("cached")).toBe("cached bytes");
    expect(await runFsck(parts, { verify: true }, signal)).toMatchObject({ errors: 0, problems: [] });
  });
});

test("a cached copy that was cut by somebody is recalled again, not read short", async () => {
  await it.writeCold("cut", "these are the bytes");
  await it.text("cut");
  const layout = new CacheLayout(it.directory);
  truncateSync(layout.cached(it.record("cut").content!.archive!), 5);
  expect(await it.text("cut")).toBe("these are the bytes");
});
