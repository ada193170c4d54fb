/**
 * A directory that somebody changes through a mount which may die at any moment, and what it has to be afterwards.
 *
 * Every change says what the tree may be while it is under way and what it is once the call has returned. `check`
 * looks at the directory: it has to be one of the trees that are allowed then, which becomes the only one.
 * Never: expects anything of what casfs keeps beside a file as `NAME (interrupted)`; `check` removes it.
 */

import {
  link,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
  truncate,
  unlink,
} from "node:fs/promises";
import { join } from "node:path";
import { run } from "./fuse-environment.js";

interface File {
  readonly kind: "file";
  /** The same for all its names. */
  readonly id: number;
  readonly bytes: Buffer;
  /** What it may be instead. */
  readonly mayBe?: (bytes: Buffer) => boolean;
  /** Its attribute `user.note`. */
  readonly note?: string | undefined;
}
type Entry = File | { readonly kind: "directory" } | { readonly kind: "symlink"; readonly target: string };
type Tree = ReadonlyMap<string, Entry>;

interface Found {
  readonly kind: Entry["kind"];
  readonly bytes: Buffer;
  readonly nlink: number;
  readonly target: string;
  readonly note: string | undefined;
}

/**
 * A killed process closes its connections before its parent hears of its end; on a loaded machine that takes seconds.
 * Only who is going to fail waits for so long.
 */
export const newsOfDeathMsMax = 30_000;

/** The mount died in the middle of a change. */
export class Interrupted extends Error {}

/** @returns false when the mount died in the middle of `work`. */
export async function survived(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof Interrupted) return false;
    throw error;
  }
}

const asidePattern = / \(interrupted(?: \d+)?\)$/;

export class PromisedTree {
  /** The directory, by its full path. */
  readonly root: string;
  readonly #isDead: () => boolean;
  #tree: Tree = new Map();
  #allowed: readonly Tree[] = [this.#tree];
  #inFlight: { readonly what: string; readonly paths: readonly string[] } | undefined;
  #lastId = 0;

  /** @param isDead Whether the mount has died, which excuses a call that failed. */
  constructor(root: string, isDead: () => boolean) {
    this.root = root;
    this.#isDead = isDead;
  }

  /** What the last change was about that has not been answered. */
  get inFlight(): { readonly what: string; readonly paths: readonly string[] } | undefined {
    return this.#inFlight;
  }

  get paths(): readonly string[] {
    return [...this.#tree.keys()];
  }

  get files(): readonly string[] {
    return this.paths.filter((path) => this.#tree.get(path)!.kind === "file");
  }

  has(path: string): boolean {
    return this.#tree.has(path);
  }

  isDirectory(path: string): boolean {
    return path === "" || this.#tree.get(path)?.kind === "directory";
  }

  /** Whether two paths are names of one file. */
  areSame(one: string, other: string): boolean {
    return isSameFile(this.#tree.get(one), this.#tree.get(other));
  }

  bytes(path: string): Buffer {
    return this.#file(path).bytes;
  }

  /** One for each file, however many names it has. */
  contents(): readonly { readonly path: string; readonly bytes: Buffer }[] {
    const seen = new Map<number, { path: string; bytes: Buffer }>();
    for (const [path, entry] of this.#tree) {
      if (entry.kind === "file" && !seen.has(entry.id)) seen.set(entry.id, { path, bytes: entry.bytes });
    }
    return [...seen.values()];
  }

  /** Makes a file, or replaces its bytes, by open, write and close. */
  async write(path: string, bytes: Buffer, { fsync = false } = {}): Promise<void> {
    const known = this.#tree.get(path);
    const isNew = known === undefined || known.kind !== "file" || known.bytes.length === 0;
    const file: File = known?.kind === "file" ? { ...known, bytes } : { kind: "file", id: this.#nextId(), bytes };
    const after = this.#withFile(path, file);
    // What was never closed keeps what was written of it; a rewrite that was not closed is undone.
    const during = isNew ? [this.#withFile(path, { ...file, mayBe: isPrefixOf(bytes) })] : [];
    await this.#attempt(`write ${path}`, [path], { during, after }, async () => {
      await this.#throughHandle(path, "w", async (handle) => {
        if (bytes.length > 0) await handle.write(bytes, 0, bytes.length, 0);
        if (fsync) await handle.sync();
      });
    });
  }

  /** Two writes, with an fsync between them whose promise is checked, too. */
  async writeSyncWrite(path: string, first: Buffer, second: Buffer): Promise<void> {
    const file: File = { kind: "file", id: this.#nextId(), bytes: first };
    const handle = { close: async () => {} } as Awaited<ReturnType<typeof open>>;
    let opened = handle;
    try {
      const whileFirst = this.#withFile(path, { ...file, mayBe: isPrefixOf(first) });
      const synced = { during: [whileFirst], after: this.#withFile(path, file) };
      await this.#attempt(`write and fsync ${path}`, [path], synced, async () => {
        opened = await open(join(this.root, path), "w");
        await opened.write(first, 0, first.length, 0);
        await opened.sync();
      });
      const whole = Buffer.concat([first, second]);
      const whileSecond = this.#withFile(path, { ...file, mayBe: isBetween(first, whole) });
      const closed = { during: [whileSecond], after: this.#withFile(path, { ...file, bytes: whole }) };
      await this.#attempt(`write after fsync ${path}`, [path], closed, async () => {
        await opened.write(second, 0, second.length, first.length);
        await opened.close();
      });
    } finally {
      await opened.close().catch(() => undefined);
    }
  }

  async append(path: string, bytes: Buffer): Promise<void> {
    const file = this.#file(path);
    const whole = Buffer.concat([file.bytes, bytes]);
    const during = [this.#withFile(path, { ...file, mayBe: isBetween(file.bytes, whole) })];
    await this.#attempt(
      `append to ${path}`,
      [path],
      { during, after: this.#withFile(path, { ...file, bytes: whole }) },
      () =>
        this.#throughHandle(path, "a", async (handle) => {
          await handle.write(bytes, 0, bytes.length);
        }),
    );
  }

  /** Writes into the middle of a file, or behind its end. */
  async patch(path: string, offset: number, bytes: Buffer): Promise<void> {
    const file = this.#file(path);
    const whole = overlaid(file.bytes, offset, bytes);
    const during = [this.#withFile(path, { ...file, mayBe: isMixOf(file.bytes, whole) })];
    await this.#attempt(
      `patch ${path}`,
      [path],
      { during, after: this.#withFile(path, { ...file, bytes: whole }) },
      () =>
        this.#throughHandle(path, "r+", async (handle) => {
          await handle.write(bytes, 0, bytes.length, offset);
        }),
    );
  }

  async truncate(path: string, sizeBytes: number): Promise<void> {
    const file = this.#file(path);
    const bytes = Buffer.alloc(sizeBytes);
    file.bytes.copy(bytes);
    await this.#change(`truncate ${path}`, [path], this.#withFile(path, { ...file, bytes }), () =>
      truncate(join(this.root, path), sizeBytes),
    );
  }

  async rename(from: string, to: string): Promise<void> {
    const moved = this.#tree.get(from)!;
    const after = new Map(this.#tree);
    // Two names of one file: rename(2) does nothing.
    if (!isSameFile(moved, this.#tree.get(to))) {
      after.delete(from);
      after.set(to, moved);
      for (const [path, entry] of this.#tree) {
        if (!path.startsWith(`${from}/`)) continue;
        after.delete(path);
        after.set(to + path.slice(from.length), entry);
      }
    }
    await this.#change(`rename ${from} to ${to}`, [from, to], after, () =>
      rename(join(this.root, from), join(this.root, to)),
    );
  }

  async unlink(path: string): Promise<void> {
    await this.#change(`unlink ${path}`, [path], this.#without(path), () => unlink(join(this.root, path)));
  }

  /** Removes a name of a file that is open for writing, and writes into it all the same. */
  async unlinkWhileOpen(path: string, bytes: Buffer): Promise<void> {
    const file = this.#file(path);
    const whole = overlaid(file.bytes, 0, bytes);
    const without = (changed: File) => {
      const tree = new Map(this.#withFile(path, changed));
      tree.delete(path);
      return tree;
    };
    const during = [this.#without(path), without({ ...file, mayBe: isMixOf(file.bytes, whole) })];
    const after = without({ ...file, bytes: whole });
    await this.#attempt(`unlink ${path} while it is open`, [path, ...this.#otherNames(path)], { during, after }, () =>
      this.#throughHandle(path, "r+", async (handle) => {
        await unlink(join(this.root, path));
        await handle.write(bytes, 0, bytes.length, 0);
      }),
    );
  }

  async link(from: string, to: string): Promise<void> {
    const after = new Map(this.#tree).set(to, this.#file(from));
    await this.#change(`link ${from} as ${to}`, [to], after, () => link(join(this.root, from), join(this.root, to)));
  }

  async symlink(target: string, path: string): Promise<void> {
    const after = new Map(this.#tree).set(path, { kind: "symlink", target });
    await this.#change(`symlink ${path}`, [path], after, () => symlink(target, join(this.root, path)));
  }

  async mkdir(path: string): Promise<void> {
    const after = new Map(this.#tree).set(path, { kind: "directory" });
    await this.#change(`mkdir ${path}`, [path], after, () => mkdir(join(this.root, path)));
  }

  async rmdir(path: string): Promise<void> {
    await this.#change(`rmdir ${path}`, [path], this.#without(path), () => rmdir(join(this.root, path)));
  }

  async setNote(path: string, note: string): Promise<void> {
    const after = this.#withFile(path, { ...this.#file(path), note });
    await this.#change(`setfattr ${path}`, [path], after, async () => {
      const { status, stderr } = await run("setfattr", ["-n", "user.note", "-v", note, join(this.root, path)]);
      if (status !== 0) throw new Error(stderr);
    });
  }

  /** Reads a file, wherever its bytes are, and compares. */
  async read(path: string): Promise<void> {
    const expected = this.#file(path).bytes;
    const bytes = await this.#orInterrupted(`read ${path}`, () => readFile(join(this.root, path)));
    if (!bytes.equals(expected)) throw new Error(`${path} reads as ${describe(bytes)}, not as ${describe(expected)}`);
  }

  /**
   * Looks at the directory after a death, or at any other time.
   *
   * @throws Error when it is not what was promised; Interrupted when the mount died meanwhile.
   */
  async check(): Promise<void> {
    const found = await this.#orInterrupted("look", () => this.#scan());
    const problems = this.#allowed.map((tree) => differences(tree, found));
    const fit = problems.findIndex((list) => list.length === 0);
    if (fit === -1) {
      const what = this.#inFlight === undefined ? "nothing was under way" : `under way: ${this.#inFlight.what}`;
      throw new Error(`${this.root} is not what was promised (${what}):\n  ${problems.at(-1)!.join("\n  ")}`);
    }
    this.#settle(adopt(this.#allowed[fit]!, found));
  }

  /** What is there now, whatever was promised: the bytes of each file. */
  async found(): Promise<Map<string, Buffer>> {
    const found = await this.#orInterrupted("look", () => this.#scan());
    return new Map([...found].map(([path, { bytes }]) => [path, bytes]));
  }

  /** Removes what a start has marked as interrupted, or put aside. */
  async discard(path: string): Promise<void> {
    const after = this.#without(path);
    await this.#change(`discard ${path}`, [path], after, () => rm(join(this.root, path), { force: true }));
  }

  #nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  #file(path: string): File {
    const entry = this.#tree.get(path);
    if (entry?.kind !== "file") throw new Error(`The test takes ${path} for a file`);
    return entry;
  }

  /** With `path` as a name of `file`, which all names of that file then have. */
  #withFile(path: string, file: File): Tree {
    const tree = new Map(this.#tree).set(path, file);
    for (const [name, entry] of tree) if (isSameFile(entry, file)) tree.set(name, file);
    return tree;
  }

  #otherNames(path: string): string[] {
    return this.paths.filter((other) => other !== path && this.areSame(path, other));
  }

  #without(path: string): Tree {
    const tree = new Map(this.#tree);
    tree.delete(path);
    return tree;
  }

  /** A change that happens wholly or not at all. */
  #change(what: string, paths: readonly string[], after: Tree, action: () => Promise<void>): Promise<void> {
    return this.#attempt(what, paths, { during: [], after }, action);
  }

  async #attempt(
    what: string,
    paths: readonly string[],
    { during, after }: { readonly during: readonly Tree[]; readonly after: Tree },
    action: () => Promise<void>,
  ): Promise<void> {
    this.#inFlight = { what, paths };
    this.#allowed = [after, ...during, this.#tree];
    await this.#orInterrupted(what, action);
    this.#settle(after);
  }

  #settle(tree: Tree): void {
    this.#tree = tree;
    this.#allowed = [tree];
    this.#inFlight = undefined;
  }

  async #orInterrupted<T>(what: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      if (await this.#hasDied(error)) throw new Interrupted(what, { cause: error });
      throw new Error(`${what} failed`, { cause: error });
    }
  }

  /** The kernel tells of the death at once; its parent hears of it a little later. */
  async #hasDied(error: unknown): Promise<boolean> {
    if (endOfMount.test(String(error))) return true;
    const deadline = Date.now() + newsOfDeathMsMax;
    while (!this.#isDead() && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
    return this.#isDead();
  }

  async #throughHandle(path: string, flags: string, work: (handle: FileHandle) => Promise<void>): Promise<void> {
    const handle = await open(join(this.root, path), flags);
    let isClosed = false;
    try {
      await work(handle);
      isClosed = true;
      await handle.close();
    } finally {
      if (!isClosed) await handle.close().catch(() => undefined);
    }
  }

  async #scan(): Promise<Map<string, Found>> {
    const found = new Map<string, Found>();
    const walk = async (below: string): Promise<void> => {
      for (const entry of await readdir(join(this.root, below), { withFileTypes: true })) {
        const path = join(below, entry.name);
        const full = join(this.root, path);
        const nothing = { bytes: Buffer.alloc(0), nlink: 1, target: "", note: undefined };
        if (entry.isDirectory()) {
          found.set(path, { ...nothing, kind: "directory" });
          await walk(path);
        } else if (entry.isSymbolicLink()) {
          found.set(path, { ...nothing, kind: "symlink", target: await readlink(full) });
        } else if (asidePattern.test(entry.name)) {
          await rm(full);
        } else {
          const [bytes, { nlink, size }] = await Promise.all([readFile(full), stat(full)]);
          if (size !== bytes.length) throw new Error(`${path} has ${bytes.length} bytes and says ${size}`);
          found.set(path, { ...nothing, kind: "file", bytes, nlink });
        }
      }
    };
    await walk("");
    if (![...this.#tree.values()].some((entry) => entry.kind === "file" && entry.note !== undefined)) return found;
    const notes = await readNotes(this.root);
    for (const [path, entry] of found) found.set(path, { ...entry, note: notes.get(path) });
    return found;
  }
}

type FileHandle = Awaited<ReturnType<typeof open>>;

const endOfMount = /ENOTCONN|ECONNABORTED|Transport endpoint is not connected|Software caused connection abort/;

function isSameFile(one: Entry | undefined, other: Entry | undefined): boolean {
  return one?.kind === "file" && other?.kind === "file" && one.id === other.id;
}

function overlaid(old: Buffer, offset: number, bytes: Buffer): Buffer {
  const whole = Buffer.alloc(Math.max(old.length, offset + bytes.length));
  old.copy(whole);
  bytes.copy(whole, offset);
  return whole;
}

function isPrefixOf(whole: Buffer): (bytes: Buffer) => boolean {
  return isBetween(Buffer.alloc(0), whole);
}

/** The first part at least, and what follows it up to any place. */
function isBetween(first: Buffer, whole: Buffer): (bytes: Buffer) => boolean {
  return (bytes) => bytes.length >= first.length && whole.subarray(0, bytes.length).equals(bytes);
}

/** Each byte from one of the two; as long as one of them, or something between. */
function isMixOf(old: Buffer, whole: Buffer): (bytes: Buffer) => boolean {
  return (bytes) =>
    bytes.length >= old.length &&
    bytes.length <= whole.length &&
    bytes.every((byte, at) => byte === whole[at] || (at < old.length ? byte === old[at] : byte === 0));
}

function differences(tree: Tree, found: ReadonlyMap<string, Found>): string[] {
  const problems: string[] = [];
  for (const path of found.keys()) if (!tree.has(path)) problems.push(`${path}: there is no such promise`);
  for (const [path, entry] of tree) {
    const it = found.get(path);
    if (it === undefined) problems.push(`${path}: missing`);
    else if (it.kind !== entry.kind) problems.push(`${path}: a ${it.kind} instead of a ${entry.kind}`);
    else if (entry.kind === "symlink" && entry.target !== it.target) problems.push(`${path}: points to ${it.target}`);
    else if (entry.kind === "file") problems.push(...fileDifferences(path, entry, it, tree));
  }
  return problems;
}

function fileDifferences(path: string, file: File, found: Found, tree: Tree): string[] {
  const names = [...tree.values()].filter((other) => isSameFile(other, file)).length;
  const isRight = found.bytes.equals(file.bytes) || file.mayBe?.(found.bytes);
  return [
    ...(isRight ? [] : [`${path}: ${describe(found.bytes)} instead of ${describe(file.bytes)}`]),
    ...(found.nlink === names ? [] : [`${path}: ${found.nlink} links instead of ${names}`]),
    ...(found.note === file.note ? [] : [`${path}: note ${found.note} instead of ${file.note}`]),
  ];
}

function describe(bytes: Buffer): string {
  return `${bytes.length} bytes ${JSON.stringify(bytes.subarray(0, 40).toString("latin1"))}`;
}

/** The tree that was found to be true. */
function adopt(tree: Tree, found: ReadonlyMap<string, Found>): Tree {
  return new Map(
    [...tree].map(([path, entry]): [string, Entry] => {
      if (entry.kind !== "file") return [path, entry];
      const { kind, id, note } = entry;
      return [path, { kind, id, note, bytes: found.get(path)!.bytes }];
    }),
  );
}

async function readNotes(root: string): Promise<Map<string, string>> {
  const { stdout } = await run("getfattr", ["-R", "-P", "-h", "-n", "user.note", "--absolute-names", root]);
  const notes = new Map<string, string>();
  for (const [, path, note] of stdout.matchAll(/^# file: (.*)\nuser\.note="(.*)"$/gm)) {
    notes.set(path!.slice(root.length + 1), note!);
  }
  return notes;
}
