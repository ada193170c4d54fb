import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Catalog } from "../../src/catalog/catalog.js";
import { Database } from "../../src/catalog/database.js";
import { UsageError } from "../../src/domain/errors.js";
import { FakeClock } from "../support/fake-clock.js";

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "casfs-database-"));
  path = join(directory, "catalog.db");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const binding = { endpoint: "http://one", appId: "1", region: "here" };
const openCatalog = (changes: Partial<typeof binding> = {}) =>
  Catalog.open({
    path,
    binding: { ...binding, ...changes },
    bootId: "boot",
    clock: new FakeClock(),
    trash: false,
    minimumStorageDays: 90,
    treeDefaults: { fileMode: 0o644, directoryMode: 0o755, uid: 1, gid: 2 },
  });

async function openTable() {
  const database = await Database.open(path);
  // The constraint is checked at the commit, as a full disk shows then.
  database.sql.exec("PRAGMA foreign_keys = ON");
  database.sql.exec("CREATE TABLE good (id INTEGER PRIMARY KEY)");
  database.sql.exec("CREATE TABLE x (n INTEGER REFERENCES good(id) DEFERRABLE INITIALLY DEFERRED)");
  database.sql.exec("INSERT INTO good VALUES (1), (2), (3)");
  const insert = database.sql.prepare("INSERT INTO x VALUES (?)");
  const values = () => database.sql.prepare("SELECT n FROM x ORDER BY n").pluck().all();
  return { database, values, add: (n: number) => database.mutate(() => void insert.run(n)), insert };
}

test("the changes of one turn are one transaction; promises resolve after its commit", async () => {
  const { database, values, add } = await openTable();
  const first = add(1);
  expect(database.sql.inTransaction).toBe(true);
  expect(values()).toEqual([1]);
  const second = add(2).then(() => expect(database.sql.inTransaction).toBe(false));
  await Promise.all([first, second]);
  expect(values()).toEqual([1, 2]);
  await database.close();
});

test("a request that throws takes back its own changes and callbacks, and no others", async () => {
  const { database, values, add, insert } = await openTable();
  const heard: string[] = [];
  const first = database.mutate(() => database.afterCommit(() => heard.push("good")));
  const failed = database.mutate(() => {
    insert.run(2);
    database.afterCommit(() => heard.push("bad"));
    throw new Error("no");
  });
  const third = add(3);
  await expect(failed).rejects.toThrow("no");
  await Promise.all([first, third]);
  expect(values()).toEqual([3]);
  expect(heard).toEqual(["good"]);
  await database.close();
});

test("a request that throws first in its turn leaves nothing, and who comes after it in the turn is committed", async () => {
  const { database, values, add, insert } = await openTable();
  let reloads = 0;
  database.onRollback(() => reloads++);
  const heard: string[] = [];
  const fails = (change: typeof database.mutate) =>
    change.call(database, () => {
      insert.run(2);
      database.afterCommit(() => heard.push("bad"));
      throw new Error("no");
    });
  const failed = [fails(database.mutateSoon), fails(database.mutate), fails(database.mutate)];
  const added = database.mutate(() => {
    insert.run(1);
    database.afterCommit(() => heard.push("good"));
  });
  const nested = database.mutate(() => add(3));
  for (const one of failed) await expect(one).rejects.toThrow("no");
  await Promise.all([added, nested]);
  expect([values(), heard, reloads]).toEqual([[1, 3], ["good"], 3]);
  await database.close();
});

test("when the commit fails every request of the turn is an error, nothing of it has happened, and memory is read again", async () => {
  const { database, values, add } = await openTable();
  let reloads = 0;
  database.onRollback(() => reloads++);
  const heard: string[] = [];
  const results = await Promise.allSettled([
    add(1),
    add(99),
    database.mutate(() => database.afterCommit(() => heard.push("committed"))),
  ]);
  expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
  expect(values()).toEqual([]);
  expect([reloads, heard]).toEqual([1, []]);
  await add(2);
  expect(values()).toEqual([2]);
  await database.close();
});

test("flush commits the present turn, and what it promised is in the file", async () => {
  const { database, add } = await openTable();
  const added = add(1);
  await database.flush();
  await added;
  await database.close();
  const reader = new BetterSqlite3(path);
  expect(reader.prepare("SELECT n FROM x").pluck().all()).toEqual([1]);
  reader.close();
});

test("a second process is refused", async () => {
  const database = await Database.open(path);
  await expect(Database.open(path)).rejects.toThrow(/another casfs process/);
  await database.close();
  await (await Database.open(path)).close();
});

test("a catalog of a newer casfs, and a file that is none, are refused", async () => {
  await (await Database.open(path)).close();
  const sql = new BetterSqlite3(path);
  sql.pragma("user_version = 1000");
  sql.close();
  await expect(Database.open(path)).rejects.toThrow(/newer casfs/);
  await expect(Database.open(path)).rejects.toBeInstanceOf(UsageError);
  rmSync(path);
  const { writeFileSync } = await import("node:fs");
  writeFileSync(path, "this is no catalog at all, and long enough to be looked at".repeat(100));
  await expect(Database.open(path)).rejects.toThrow(/damaged or not a catalog/);
});

test("a state directory belongs to one archive: another endpoint, account or region is refused with both named", async () => {
  const first = await openCatalog();
  expect(first.isNew).toBe(true);
  await first.close();
  await expect(openCatalog({ endpoint: "http://two" })).rejects.toThrow(/http:\/\/two.*http:\/\/one/);
  await expect(openCatalog({ region: "there" })).rejects.toBeInstanceOf(UsageError);
  const again = await openCatalog();
  expect(again.isNew).toBe(false);
  await again.close();
});
