/**
 * Deletions, overwriting, the trash and its end, against a model: no archive is deleted that somebody still needs, none is
 * left that nobody needs, and the catalog agrees with itself. Crashes and outages come in between.
 */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { expect, test } from "vitest";
import { hours } from "../../src/domain/time.js";
import { fc } from "../support/seeded-fast-check.js";
import { appending, reading, TestVault, vault, writing } from "../support/test-file-system.js";

interface File {
  bytes: string;
  /** Archives of what it replaced, which must stay until it is archived. */
  safe: Set<string>;
}
/** What should be there, and what has been going on. */
interface World {
  files: Map<string, File>;
  open: number[];
  down: boolean;
  everArchived: Set<string>;
}
const names = ["a", "b", "d/a", "d/b"];
const anyName = fc.constantFrom(...names);
const anyText = fc.constantFrom("one", "two", "six", "eight", "abcdefgh");

const newestOf = (it: TestVault, path: string) => it.record(path).content;

function note(w: World, it: TestVault) {
  for (const [path, file] of w.files) {
    const content = newestOf(it, path);
    if (content?.phase === "archived" && it.catalog.contentsOf(it.ino(path)).length === 1) {
      file.safe = new Set([file.bytes]);
      w.everArchived.add(file.bytes);
    } else if (content === null) file.safe = new Set();
  }
}

function trashFiles(it: TestVault, directory: string): string[] {
  return it.names(directory).flatMap((name) => {
    const path = `${directory}/${name}`;
    return (it.record(path).mode & 0o170000) === 0o040000 ? trashFiles(it, path) : [path];
  });
}
const inTrash = (it: TestVault) => (it.has(".trash") ? trashFiles(it, ".trash") : []);

function check(w: World, it: TestVault) {
  note(w, it);
  const root = it.names();
  const seen = root.flatMap((name) => (name === "d" ? it.names("d").map((n) => `d/${n}`) : [name]));
  expect(seen.sort()).toEqual([...w.files.keys()].sort());
  expect(it.fs.attributes(it.root).nlink).toBe(3);
  const there = it.archived();
  for (const [path, file] of w.files) {
    for (const safe of file.safe) expect(there, `${path} still needs ${safe}`).toContain(safe);
  }
  for (const path of inTrash(it)) {
    const record = it.record(path);
    expect(it.catalog.isTrash(record.ino)).toBe(true);
    expect(record.nlink).toBe(1);
    const id = it.catalog.archive(record.content!.archive!)!.id;
    expect(
      it.service.archivesOf(vault).some((one) => one.archiveId === id),
      path,
    ).toBe(true);
  }
}

const awaited = "SELECT id FROM content WHERE phase <> 'archived' OR recovered = 1";
const used = "SELECT archive_key FROM content WHERE archive_key IS NOT NULL";
const inodes = "SELECT ino FROM inode";
const isDirectory = (inode: string) => `(${inode}.mode & 61440) = 16384`;
/** Rows that nothing refers to, or that refer to nothing, and directories whose links are counted wrong. */
const findsNothing = [
  `SELECT ino FROM trash WHERE ino NOT IN (${inodes})`,
  `SELECT ino FROM trash_directory WHERE ino NOT IN (${inodes})`,
  `SELECT waits_for FROM trash WHERE waits_for IS NOT NULL AND waits_for NOT IN (${awaited})`,
  `SELECT waits_for FROM tombstone WHERE waits_for IS NOT NULL AND waits_for NOT IN (${awaited})`,
  `SELECT name FROM entry WHERE ino NOT IN (${inodes}) OR parent NOT IN (${inodes})`,
  `SELECT id FROM content WHERE ino NOT IN (${inodes})`,
  `SELECT id FROM content WHERE archive_key IS NOT NULL AND archive_key NOT IN (SELECT key FROM archive)`,
  `SELECT key FROM archive WHERE key NOT IN (${used})`,
  `SELECT archive_key FROM cached WHERE archive_key NOT IN (${used})`,
  `SELECT i.ino FROM inode i WHERE ${isDirectory("i")} AND i.ino <> 1 AND i.nlink <> 2 + (SELECT count(*)
    FROM entry e JOIN inode c ON c.ino = e.ino WHERE e.parent = i.ino AND ${isDirectory("c")} AND e.name <> '.trash')`,
];

/** When everything is archived and nothing is open. */
async function consistent(w: World, it: TestVault) {
  const db = new Sqlite(join(it.snapshot(), "catalog.db"));
  try {
    const one = (sql: string) => db.prepare(sql).pluck().all();
    for (const query of findsNothing) expect(one(query), query).toEqual([]);
    if (!w.down) {
      const wanted = one("SELECT archive_id FROM archive").sort();
      expect(
        it.service
          .archivesOf(vault)
          .map((a) => a.archiveId)
          .sort(),
      ).toEqual(wanted);
      await it.until(() => readdirSync(join(it.directory, "staging")).length === 0);
    }
  } finally {
    db.close();
  }
}

type Command = fc.AsyncCommand<World, TestVault>;
function command(
  text: string,
  can: (w: Readonly<World>) => boolean,
  run: (w: World, it: TestVault) => Promise<void>,
): Command {
  return {
    check: can,
    run: async (w, it) => {
      note(w, it);
      await run(w, it);
      check(w, it);
    },
    toString: () => text,
  };
}
const drop = async (it: TestVault, ino: number) => {
  if (it.catalog.inode(ino as never)?.nlink === 0 && it.fs.contents.handles.file(ino as never) === undefined)
    await it.fs.forget(ino as never);
};
const always = () => true;

const write = fc.tuple(anyName, anyText).map(([path, text]) =>
  command(`write ${path} ${text}`, always, async (w, it) => {
    await it.write(path, text);
    const file = w.files.get(path);
    if (file) file.bytes = text;
    else w.files.set(path, { bytes: text, safe: new Set() });
  }),
);
const append = anyName.map((path) =>
  command(
    `append ${path}`,
    (w) => w.files.has(path) && !w.down,
    async (w, it) => {
      const h = await it.open(path, appending);
      await it.pwrite(h, 0, Buffer.from("+"));
      await it.close(h);
      w.files.get(path)!.bytes += "+";
    },
  ),
);
const empty = anyName.map((path) =>
  command(
    `empty ${path}`,
    (w) => w.files.has(path),
    async (w, it) => {
      await it.write(path, "");
      w.files.get(path)!.bytes = "";
      w.files.get(path)!.safe = new Set();
    },
  ),
);
const unlink = anyName.map((path) =>
  command(
    `unlink ${path}`,
    (w) => w.files.has(path),
    async (w, it) => {
      const ino = it.ino(path);
      await it.unlink(path);
      await drop(it, ino);
      w.files.delete(path);
    },
  ),
);
const rename = fc.tuple(anyName, anyName).map(([from, to]) =>
  command(
    `rename ${from} ${to}`,
    (w) => w.files.has(from) && from !== to,
    async (w, it) => {
      const ino = w.files.has(to) ? it.ino(to) : undefined;
      await it.rename(from, to);
      if (ino !== undefined) await drop(it, ino);
      const moved = w.files.get(from)!;
      const replaced = w.files.get(to);
      if (moved === replaced) return;
      if (replaced && newestOf(it, to) !== null && newestOf(it, to)!.phase !== "archived")
        for (const one of replaced.safe) moved.safe.add(one);
      w.files.delete(from);
      w.files.set(to, moved);
    },
  ),
);
const link = fc.tuple(anyName, anyName).map(([from, to]) =>
  command(
    `link ${from} ${to}`,
    (w) => w.files.has(from) && !w.files.has(to),
    async (w, it) => {
      await it.fs.link(it.ino(from), it.place(to));
      w.files.set(to, w.files.get(from)!);
    },
  ),
);
const openOne = anyName.map((path) =>
  command(
    `open ${path}`,
    (w) => w.files.has(path) && !w.down,
    async (w, it) => {
      w.open.push(await it.open(path, w.open.length % 2 ? writing : reading));
    },
  ),
);
const closeOne = fc.constant(
  command(
    "close",
    (w) => w.open.length > 0,
    async (w, it) => {
      const h = w.open.shift()!;
      const ino = it.fs.contents.handles.handle(h).open.ino;
      await it.close(h);
      await drop(it, ino);
    },
  ),
);
const restore = fc.tuple(fc.nat(), anyName).map(([n, to]) =>
  command(`restore ${n} to ${to}`, always, async (w, it) => {
    const all = inTrash(it);
    if (all.length === 0) return;
    const from = all[n % all.length]!;
    const ino = w.files.has(to) ? it.ino(to) : undefined;
    const archive = it.catalog.archive(it.record(from).content!.archive!)!.id;
    const bytes = it.service
      .archivesOf(vault)
      .find((one) => one.archiveId === archive)!
      .bytes.toString();
    expect(w.everArchived).toContain(bytes);
    await it.rename(from, to);
    if (ino !== undefined) await drop(it, ino);
    for (const file of w.files.values()) file.safe.delete(bytes);
    w.files.set(to, { bytes, safe: new Set([bytes]) });
  }),
);
const rmTrash = fc.nat().map((n) =>
  command(`rm in trash ${n}`, always, async (_, it) => {
    const all = inTrash(it);
    if (all.length === 0) return;
    const path = all[n % all.length]!;
    const ino = it.ino(path);
    await it.unlink(path);
    await drop(it, ino);
  }),
);
const readTrash = fc.nat().map((n) =>
  command(
    `read trash ${n}`,
    (w) => !w.down,
    async (w, it) => {
      const all = inTrash(it);
      if (all.length === 0) return;
      expect(w.everArchived).toContain(await it.text(all[n % all.length]!));
    },
  ),
);
const evict = anyName.map((path) =>
  command(
    `evict ${path}`,
    (w) => w.files.has(path) && w.open.length === 0,
    async (_, it) => {
      if (newestOf(it, path)?.phase === "archived") await it.evict(path);
    },
  ),
);
const read = anyName.map((path) =>
  command(
    `read ${path}`,
    (w) => w.files.has(path),
    async (w, it) => {
      expect(await it.text(path)).toBe(w.files.get(path)!.bytes);
    },
  ),
);
const wait = fc
  .constantFrom(1, 3000, hours(25), hours(24 * 50), hours(24 * 95))
  .map((ms) => command(`wait ${ms}`, always, async (_, it) => it.clock.advance(ms)));
const outages = fc.constant(
  command("uploads fail, or go again", always, async (w) => {
    w.down = !w.down;
  }),
);
const archive = fc.constant(
  command(
    "archive all",
    (w) => !w.down,
    async (w, it) => {
      await it.archiveAll();
      await it.clock.advance(hours(48));
      await it.refreshInventory();
      await it.archiveAll();
      note(w, it);
      if (w.open.length === 0) await consistent(w, it);
    },
  ),
);
const inventory = fc.constant(
  command(
    "inventory",
    (w) => !w.down,
    async (_, it) => it.refreshInventory(),
  ),
);
const crash = fc.boolean().map((settle) =>
  command(settle ? "settle, power loss" : "crash", always, async (w, it) => {
    if (settle && !w.down) await it.archiveAll();
    w.open = [];
    await it.reopen({ powerLoss: settle && !w.down });
  }),
);

test.each([
  ["with", true],
  ["without", false],
])(
  "no archive is deleted while it is needed, and none is left when it is not, %s a trash",
  async (_, trash) => {
    const commands = fc.commands(
      [
        write,
        write,
        write,
        append,
        empty,
        unlink,
        unlink,
        rename,
        rename,
        link,
        openOne,
        openOne,
        closeOne,
        restore,
        restore,
        rmTrash,
        readTrash,
        evict,
        read,
        wait,
        wait,
        outages,
        archive,
        archive,
        inventory,
        crash,
      ],
      { maxCommands: 60 },
    );
    await fc.assert(
      fc.asyncProperty(commands, async (sequence) => {
        await using it = await TestVault.create({ trash });
        await it.mkdir("d");
        const w: World = { files: new Map(), open: [], down: false, everArchived: new Set() };
        it.service.onCall = (operation: string) => {
          if (w.down && operation === "uploadArchive") throw new Error("down");
        };
        await fc.asyncModelRun(() => ({ model: w, real: it }), sequence);
        w.down = false;
        for (const h of w.open) await it.close(h);
        await it.reopen();
        await it.archiveAll();
        await it.clock.advance(hours(48));
        await it.refreshInventory();
        await it.archiveAll();
        check(w, it);
        await consistent(w, it);
        for (const [path, file] of w.files) expect(await it.text(path)).toBe(file.bytes);
        await it.clock.advance(hours(24 * 200));
        await it.archiveAll();
        await it.until(
          () => it.archived().length === new Set([...w.files.values()].filter((f) => f.bytes !== "")).size,
        );
        expect(it.warnings.filter((m) => !/down|caller is dead/.test(m))).toEqual([]);
      }),
      {
        numRuns: 12,
        endOnFailure: true,
        verbose: 1,
      },
    );
  },
  200_000,
);
