/** The file system against a model too simple to be wrong: names and bytes in maps. Crashes come between closes. */

import { expect, test } from "vitest";
import { fc } from "../support/seeded-fast-check.js";
import { appending, caller, TestVault, writing } from "../support/test-file-system.js";

interface ModelFile {
  bytes: Buffer;
}
/** A path without slashes, or `d/name`. A directory is undefined. */
type Model = Map<string, ModelFile | undefined>;
type Command = fc.AsyncCommand<Model, TestVault>;

const directories = ["d", "e"];
const names = ["a", "b", "c", "d/a", "d/b", "e/a"];
const anyName = fc.constantFrom(...names);
const anyDirectory = fc.constantFrom(...directories);
const anyBytes = fc.uint8Array({ minLength: 1, maxLength: 40 });
const anyOffset = fc.nat({ max: 60 });

const parentOf = (path: string) => (path.includes("/") ? path.slice(0, path.indexOf("/")) : "");
const parentIsThere = (model: Readonly<Model>, path: string) => parentOf(path) === "" || model.has(parentOf(path));
const isFile = (model: Readonly<Model>, path: string) => model.get(path) !== undefined;

function command(
  text: string,
  check: (model: Readonly<Model>) => boolean,
  run: (model: Model, it: TestVault) => Promise<void>,
): Command {
  return {
    check,
    run: async (model, it) => {
      await run(model, it);
      await expectSame(model, it);
    },
    toString: () => text,
  };
}

function written(old: Buffer, offset: number, data: Uint8Array): Buffer {
  const bytes = Buffer.alloc(Math.max(old.length, offset + data.length));
  old.copy(bytes);
  bytes.set(data, offset);
  return bytes;
}

const rewrites = fc.tuple(anyName, anyBytes).map(([path, data]) =>
  command(
    `write ${path} ${data.length}`,
    (model) => parentIsThere(model, path),
    async (model, it) => {
      await it.write(path, data);
      const file = model.get(path);
      if (file === undefined) model.set(path, { bytes: Buffer.from(data) });
      else file.bytes = Buffer.from(data);
    },
  ),
);

const patches = fc.tuple(anyName, anyOffset, anyBytes).map(([path, offset, data]) =>
  command(
    `patch ${path} at ${offset} with ${data.length}`,
    (model) => isFile(model, path),
    async (model, it) => {
      const handle = await it.open(path, writing);
      await it.pwrite(handle, offset, data);
      await it.close(handle);
      const file = model.get(path)!;
      file.bytes = written(file.bytes, offset, data);
    },
  ),
);

const appends = fc.tuple(anyName, anyBytes).map(([path, data]) =>
  command(
    `append ${data.length} to ${path}`,
    (model) => isFile(model, path),
    async (model, it) => {
      const handle = await it.open(path, appending);
      await it.pwrite(handle, 0, data);
      await it.close(handle);
      const file = model.get(path)!;
      file.bytes = Buffer.concat([file.bytes, data]);
    },
  ),
);

const truncations = fc.tuple(anyName, anyOffset).map(([path, sizeBytes]) =>
  command(
    `truncate ${path} to ${sizeBytes}`,
    (model) => isFile(model, path),
    async (model, it) => {
      const file = model.get(path)!;
      await it.read(path); // A cold file is cut only when it was recalled.
      await it.fs.setAttributes(it.ino(path), { sizeBytes });
      file.bytes = written(file.bytes.subarray(0, sizeBytes), sizeBytes, new Uint8Array());
    },
  ),
);

const unlinks = anyName.map((path) =>
  command(
    `unlink ${path}`,
    (model) => isFile(model, path),
    async (model, it) => {
      const ino = it.ino(path);
      await it.unlink(path);
      if (it.catalog.inode(ino)?.nlink === 0) await it.fs.forget(ino);
      model.delete(path);
    },
  ),
);

const renames = fc.tuple(anyName, anyName).map(([from, to]) =>
  command(
    `rename ${from} to ${to}`,
    (model) => isFile(model, from) && parentIsThere(model, to),
    async (model, it) => {
      await it.rename(from, to);
      const file = model.get(from)!;
      if (model.get(to) === file) return; // The same file: rename(2) does nothing.
      model.delete(from);
      model.set(to, file);
    },
  ),
);

const links = fc.tuple(anyName, anyName).map(([from, to]) =>
  command(
    `link ${from} as ${to}`,
    (model) => isFile(model, from) && !model.has(to) && parentIsThere(model, to),
    async (model, it) => {
      await it.fs.link(it.ino(from), it.place(to));
      model.set(to, model.get(from));
    },
  ),
);

const mkdirs = anyDirectory.map((path) =>
  command(
    `mkdir ${path}`,
    (model) => !model.has(path),
    async (model, it) => {
      await it.fs.makeDirectory(it.place(path), 0o755, caller);
      model.set(path, undefined);
    },
  ),
);

const rmdirs = anyDirectory.map((path) =>
  command(
    `rmdir ${path}`,
    (model) => model.has(path),
    async (model, it) => {
      const isEmpty = ![...model.keys()].some((name) => parentOf(name) === path);
      const removal = it.fs.removeDirectory(it.place(path));
      if (!isEmpty) return expect(removal).rejects.toMatchObject({ kind: "not-empty" });
      await removal;
      model.delete(path);
    },
  ),
);

const always = () => true;
const settles = fc.nat({ max: 3000 }).map((time) => command(`wait ${time}`, always, (_, it) => it.clock.advance(time)));
const uploads = fc.constant(
  command("archive all", always, async (model, it) => {
    await it.archiveAll();
    const files = [...new Set([...model.values()])].filter((file) => file !== undefined && file.bytes.length > 0);
    expect(it.archived()).toEqual(files.map((file) => file!.bytes.toString()).sort());
  }),
);
const evictions = anyName.map((path) =>
  command(
    `evict ${path}`,
    (model) => isFile(model, path),
    async (model, it) => {
      if (model.get(path)!.bytes.length === 0) return;
      await it.archiveAll();
      await it.evict(path);
      expect(it.state(path)).toBe("archived");
    },
  ),
);
const recalls = anyName.map((path) =>
  command(
    `read ${path}`,
    (model) => isFile(model, path),
    async (model, it) => {
      expect((await it.read(path)).equals(model.get(path)!.bytes)).toBe(true);
    },
  ),
);
const crashes = fc.boolean().map((powerLoss) =>
  command(powerLoss ? "sync and power loss" : "crash", always, async (_, it) => {
    if (powerLoss) await it.archiveAll();
    await it.reopen({ powerLoss });
  }),
);

async function expectSame(model: Readonly<Model>, it: TestVault): Promise<void> {
  const present = it
    .names()
    .flatMap((name) => [
      name,
      ...(directories.includes(name) ? it.names(name).map((below) => `${name}/${below}`) : []),
    ]);
  expect(present.sort()).toEqual([...model.keys()].sort());
  const subdirectories = [...model.values()].filter((file) => file === undefined).length;
  expect(it.fs.attributes(it.root).nlink).toBe(2 + subdirectories);
  for (const [path, file] of model) {
    const { sizeBytes, nlink } = it.stat(path);
    if (file === undefined) continue;
    expect(sizeBytes, path).toBe(file.bytes.length);
    expect(nlink, path).toBe([...model.values()].filter((other) => other === file).length);
  }
}

async function expectSameBytes(model: Readonly<Model>, it: TestVault): Promise<void> {
  for (const [path, file] of model) {
    if (file !== undefined) expect((await it.read(path)).equals(file.bytes), path).toBe(true);
  }
  expect(it.warnings).toEqual([]);
}

test.each([
  ["with", true],
  ["without", false],
])(
  "whatever happened before, every file reads back as it was written, from here and from the vault, %s a trash",
  async (_, trash) => {
    const commands = fc.commands(
      [
        rewrites,
        rewrites,
        patches,
        appends,
        truncations,
        unlinks,
        renames,
        links,
        mkdirs,
        rmdirs,
        settles,
        uploads,
        evictions,
        recalls,
        crashes,
      ],
      { maxCommands: 40 },
    );
    const everything = fc.asyncProperty(commands, async (sequence) => {
      await using it = await TestVault.create({ trash });
      const model: Model = new Map();
      await fc.asyncModelRun(() => ({ model, real: it }), sequence);
      await expectSameBytes(model, it);
    });
    await fc.assert(everything, { numRuns: 20, endOnFailure: true });
  },
  180_000,
);
