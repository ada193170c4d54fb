/**
 * The kernel driver on real mounts of a file system in memory. This process is the daemon, so every look at a mount is
 * taken by another process.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readlinkSync } from "node:fs";
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FileSystemError } from "../../src/domain/errors.js";
import { ms } from "../../src/domain/time.js";
import type { FuseSession } from "../../src/fuse/driver.js";
import { kernelDriver } from "../../src/fuse/kernel/kernel-driver.js";
import { findCasfsMount, findMountAt, listCasfsMounts, unmountPath } from "../../src/fuse/mount-table.js";
import { deferred } from "../../src/lib/deferred.js";
import { eventually, run, shell, whyNoMount } from "../support/fuse-environment.js";
import { MemoryFuseOperations } from "../support/memory-fuse-operations.js";

const reason = whyNoMount();

describe.skipIf(reason !== undefined)(`kernel driver on a real mount${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let directory: string;
  let mountpoint: string;
  let operations: MemoryFuseOperations;
  let session: FuseSession;
  let errors: { operation: string; error: unknown }[];
  let children: ChildProcess[];

  const driver = kernelDriver({
    onError: (operation, _ino, error) => void errors.push({ operation, error }),
    onWarning: () => undefined,
  });
  const mount = (options: { readOnly?: boolean; source?: string } = {}) =>
    driver.mount(
      { mountpoint, source: options.source ?? "casfs:test", allowOther: true, readOnly: options.readOnly ?? false },
      operations,
    );
  const path = (name: string) => join(mountpoint, name);
  /** A process that may still run when the test ends. */
  const start = (command: string, commandArguments: readonly string[]) => {
    const child = spawn(command, commandArguments, { cwd: "/", stdio: "ignore" });
    children.push(child);
    return child;
  };

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "casfs-kernel-"));
    // Some tests look as another user.
    await chmod(directory, 0o755);
    mountpoint = join(directory, "a mount");
    await mkdir(mountpoint);
    operations = new MemoryFuseOperations();
    errors = [];
    children = [];
    session = await mount();
  });

  afterEach(async () => {
    for (const child of children) child.kill("SIGKILL");
    for (const ino of operations.parked.keys()) operations.unpark(ino);
    await session.unmount({ lazy: true }).catch(() => undefined);
    await session.closed.catch(() => undefined);
    await rm(directory, { recursive: true });
    expect(errors).toEqual([]);
  });

  describe("ordinary tools", () => {
    test("ls, cat and find show what is there", async () => {
      operations.add("/dir", null);
      operations.add("/dir/hello.txt", "hello\n");
      operations.add("/dir/ünïcödé 文件", "12345");
      expect((await run("cat", [path("dir/hello.txt")])).stdout).toBe("hello\n");
      expect((await run("ls", ["-l", path("dir")])).stdout).toMatch(/^-rw-r--r-- 1 root root 6 .* hello.txt$/m);
      const found = (await run("find", [mountpoint, "-printf", "%P %y %s\n"])).stdout.split("\n").sort();
      expect(found).toEqual(["", " d 0", "dir d 0", "dir/hello.txt f 6", "dir/ünïcödé 文件 f 5"]);
    });

    test("cp -a and diff -r agree on a tree with links, times and modes", async () => {
      const made = await shell(
        `set -e; cd "$1"; mkdir -p tree/sub; head -c 3000000 /dev/urandom > tree/random; echo x > tree/sub/x
        chmod 640 tree/sub/x; touch -d '1960-02-03 04:05:06.123456789' tree/sub/x; ln -s sub/x tree/link
        cp -a tree "$2/tree"; diff -r tree "$2/tree"; stat -c '%a %y %h' "$2/tree/sub/x"; readlink "$2/tree/link"
        ln "$2/tree/sub/x" "$2/tree/hard"; stat -c %h "$2/tree/hard"`,
        directory,
        mountpoint,
      );
      expect(made.stderr).toBe("");
      const lines = made.stdout.split("\n");
      expect(lines[0]).toMatch(/^640 1960-02-03 04:05:06\.123456789 .* 1$/);
      expect(lines.slice(1, 3)).toEqual(["sub/x", "2"]);
    });

    test("dd with 1 MiB blocks writes and reads back every byte where it belongs", async () => {
      const pattern = Buffer.from(Uint8Array.from({ length: 5_000_003 }, (_, index) => index % 251));
      await writeFile(join(directory, "pattern"), pattern);
      await run("dd", [`if=${directory}/pattern`, `of=${path("copy")}`, "bs=1M", "conv=fsync"]);
      expect(operations.calls).toContain("fsync all");
      expect(operations.at("/copy")!.attributes.sizeBytes).toBe(pattern.length);
      expect(operations.at("/copy")!.data.subarray(0, pattern.length).equals(pattern)).toBe(true);
      expect((await run("cmp", [join(directory, "pattern"), path("copy")])).status).toBe(0);
      const direct = await shell(
        `dd if="$1" iflag=direct bs=1M 2>&1 > "$2"; cmp "$2" "$3"`,
        path("copy"),
        join(directory, "again"),
        join(directory, "pattern"),
      );
      expect(direct.status).toBe(0);
    });

    test("truncation, appending, fallocate and holes reach the operations", async () => {
      const result = await shell(
        `cd "$1"; echo 1234567 > f; truncate -s 3 f; echo A >> f; cat f; fallocate -l 100 f; stat -c %s f; rm f; ls -a | wc -l`,
        mountpoint,
      );
      expect(result).toMatchObject({ stdout: "123A\n100\n2\n", stderr: "" });
    });

    test("a read-only mount refuses writes with EROFS", async () => {
      await session.unmount({ lazy: false });
      await session.closed;
      session = await mount({ readOnly: true });
      expect((await shell(`touch "$1"`, path("new"))).stderr).toMatch(/Read-only file system/);
    });

    test("numbers beyond 32 bits arrive in statfs and sizes", async () => {
      const node = operations.add("/huge", "");
      node.attributes = { ...node.attributes, sizeBytes: 2 ** 45 + 7, blocks: 2 ** 36 };
      expect((await run("stat", ["-c", "%s %b", path("huge")])).stdout).toBe(`${2 ** 45 + 7} ${2 ** 36}\n`);
      expect((await run("stat", ["-f", "-c", "%S %b %f %a", mountpoint])).stdout).toBe(
        `4096 ${2 ** 40} ${2 ** 39} ${2 ** 38}\n`,
      );
    });
  });

  describe("directories", () => {
    test("a directory of 10,000 entries is listed once each, by ls and by ls -l", async () => {
      operations.add("/many", null);
      const names = Array.from({ length: 10_000 }, (_, index) => `entry-${index}-${"n".repeat(index % 90)}`);
      for (const name of names) operations.add(`/many/${name}`, "x");
      const plain = (await run("ls", ["-U", path("many")])).stdout.trim().split("\n");
      expect(plain.sort()).toEqual([...names].sort());
      const long = (await run("ls", ["-lU", path("many")])).stdout.trim().split("\n").slice(1);
      expect(long.map((line) => line.split(" ").pop()).sort()).toEqual([...names].sort());
      expect(operations.openDirectories.size).toBe(0);
    });

    test("rm -r of a large directory removes everything", async () => {
      operations.add("/many", null);
      for (let index = 0; index < 3000; index++) operations.add(`/many/${index}`, "");
      expect(await run("rm", ["-r", path("many")])).toMatchObject({ status: 0, stderr: "" });
      expect(operations.at("/many")).toBeUndefined();
    });

    test("names that are not UTF-8 cannot be made and are not found", async () => {
      const bad = Buffer.from("/bad\xff\xfe", "latin1");
      const script = `import os, sys
for make in (lambda p: os.mkdir(p), lambda p: os.open(p, os.O_CREAT | os.O_WRONLY), lambda p: os.symlink(b"t", p), lambda p: os.stat(p)):
    try:
        make(os.fsencode(sys.argv[1]) + bytes.fromhex(sys.argv[2])); print("made")
    except OSError as error: print(error.errno)`;
      const { stdout } = await run("python3", ["-c", script, mountpoint, bad.toString("hex")]);
      expect(stdout.trim().split("\n")).toEqual(["84", "84", "84", "2"]);
    });

    test("a name of 255 bytes works, a longer one is ENAMETOOLONG", async () => {
      expect((await shell(`touch "$1"`, path("n".repeat(255)))).status).toBe(0);
      expect(operations.at(`/${"n".repeat(255)}`)).toBeDefined();
      expect((await shell(`touch "$1"`, path("n".repeat(256)))).stderr).toMatch(/File name too long/);
    });

    test("renaming with flags arrives as no-replace and exchange", async () => {
      operations.add("/a", "a");
      operations.add("/b", "b");
      const script = `import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
os.chdir(sys.argv[1])
for flag in (1, 2, 4):
    print(libc.renameat2(-100, b"a", -100, b"b", flag), ctypes.get_errno())`;
      const { stdout } = await run("python3", ["-c", script, mountpoint]);
      expect(stdout.trim().split("\n")).toEqual(["-1 17", "0 17", "-1 22"]);
      expect(operations.at("/a")!.data.toString()).toBe("b");
      expect(operations.calls).toContain("rename exchange");
      await run("mv", [path("a"), path("c")]);
      expect(operations.at("/c")!.data.toString()).toBe("b");
    });
  });

  describe("errors", () => {
    test("an operation's failure arrives as its errno", async () => {
      operations.failures.set("cold", new FileSystemError("no-space", "No room"));
      operations.failures.set("gone", new FileSystemError("stale", "Gone"));
      expect((await run("cat", [path("cold")])).stderr).toMatch(/No space left on device/);
      expect((await run("cat", [path("gone")])).stderr).toMatch(/Stale file handle/);
      expect((await run("cat", [path("absent")])).stderr).toMatch(/No such file or directory/);
    });

    test("anything but a CasfsError is EIO and is reported", async () => {
      operations.failures.set("broken", new TypeError("A bug"));
      expect((await run("cat", [path("broken")])).stderr).toMatch(/Input\/output error/);
      expect(errors).toMatchObject([{ operation: "lookup", error: { message: "A bug" } }]);
      errors = [];
    });

    test("a failing flush is close()'s error", async () => {
      operations.failures.set("flush", new FileSystemError("no-space", "Full"));
      expect((await shell(`echo x > "$1"`, path("f"))).stdout).toBe("");
      const { stdout } = await run("node", [
        "-e",
        `const fs = require("fs"); const fd = fs.openSync(process.argv[1], "w");
        try { fs.closeSync(fd) } catch (error) { console.log(error.code) }`,
        path("f"),
      ]);
      expect(stdout.trim()).toBe("ENOSPC");
    });

    test("extended attributes: size query, ERANGE for a short buffer, flags, removal", async () => {
      operations.add("/f", "").xattrs.set("user.long", Buffer.alloc(300, "v"));
      const script = `import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
f = os.fsencode(sys.argv[1])
buffer = ctypes.create_string_buffer(1000)
def show(value): print(value, ctypes.get_errno() if value < 0 else 0)
show(libc.getxattr(f, b"user.long", None, 0)); show(libc.getxattr(f, b"user.long", buffer, 299)); show(libc.getxattr(f, b"user.long", buffer, 300))
show(libc.listxattr(f, None, 0)); show(libc.listxattr(f, buffer, 5)); show(libc.listxattr(f, buffer, 10)); show(libc.getxattr(f, b"user.none", buffer, 10))
show(libc.setxattr(f, b"user.long", b"x", 1, 1)); show(libc.setxattr(f, b"user.new", b"x", 1, 2)); show(libc.setxattr(f, b"user.new", b"", 0, 0)); show(libc.getxattr(f, b"user.new", buffer, 10))
show(libc.removexattr(f, b"user.new")); show(libc.removexattr(f, b"user.new"))`;
      const { stdout } = await run("python3", ["-c", script, path("f")]);
      expect(stdout.trim().split("\n")).toEqual([
        "300 0",
        "-1 34",
        "300 0",
        "10 0",
        "-1 34",
        "10 0",
        "-1 61",
        "-1 17",
        "-1 61",
        "0 0",
        "0 0",
        "0 0",
        "-1 61",
      ]);
    });

    test("a write by somebody else drops set-user-id, and so does a new owner", async () => {
      const node = operations.add("/suid", "x", 0o6777);
      const mode = () => (node.attributes.mode & 0o7777).toString(8);
      await run("stat", [path("suid")]);
      await shell(
        `setpriv --reuid 65534 --regid 65534 --clear-groups bash -c 'echo more >> "$1"' bash "$1"`,
        path("suid"),
      );
      expect(mode()).toBe("777");
      expect((await run("stat", ["-c", "%a", path("suid")])).stdout).toBe("777\n");
      await shell(`chmod 6755 "$1"; chown 5 "$1"`, path("suid"));
      expect(mode()).toBe("755");
    });
  });

  describe("opens that wait", () => {
    const park = (name: string) => {
      const node = operations.add(name, "content");
      operations.parked.set(node.attributes.ino, new Set());
      return node.attributes.ino;
    };

    test("O_NONBLOCK and the caller's identity are visible", async () => {
      operations.add("/f", "x");
      const child = await run("dd", [`if=${path("f")}`, "iflag=nonblock"]);
      expect(child.status).toBe(0);
      expect(operations.opens[0]!.flags & 0o4000).toBe(0o4000);
      await shell(`setpriv --reuid 1234 --regid 4321 --clear-groups cat "$1"`, path("f"));
      expect(operations.opens[1]!.flags & 0o4000).toBe(0);
      expect(operations.opens[1]!.caller).toMatchObject({ uid: 1234, gid: 4321 });
      expect(operations.opens[1]!.caller.pid).toBeGreaterThan(0);
    });

    test.each(["SIGINT", "SIGTERM", "SIGKILL"] as const)(
      "%s ends a waiting open at once and fires its signal",
      async (signal) => {
        const ino = park("/cold");
        const cat = start("cat", [path("cold")]);
        await eventually(() => operations.parked.get(ino)!.size === 1, "the open waits");
        // Nobody answers the open: without the signal cat would wait until this test's own time is over.
        cat.kill(signal);
        await once(cat, "exit");
        expect(cat.signalCode).toBe(signal);
        await eventually(() => operations.opens[0]!.interrupted, "the signal has fired");
        expect(operations.opens[0]!.caller.signal.reason).toMatchObject({ kind: "cancelled" });
        expect(operations.openHandles.size).toBe(0);
      },
    );

    test("an open that is answered late goes on as if nothing had been", async () => {
      const ino = park("/cold");
      const reading = run("cat", [path("cold")]);
      await eventually(() => operations.parked.get(ino)!.size === 1, "the open waits");
      operations.unpark(ino);
      expect((await reading).stdout).toBe("content");
    });

    test("1,000 waiting opens do not hinder others, and all are freed together", async () => {
      const ino = park("/cold");
      operations.add("/warm", "warm");
      const script = `const fs = require("fs");
        for (let i = 0; i < 1000; i++) fs.open(process.argv[1], "r", () => undefined)`;
      const opener = spawn("node", ["-e", script, path("cold")], {
        env: { ...process.env, UV_THREADPOOL_SIZE: "1000" },
        stdio: "ignore",
      });
      children.push(opener);
      await eventually(() => operations.parked.get(ino)!.size === 1000, "all opens wait");
      // Nobody answers the 1,000: whatever stood behind them would wait until its time is over.
      expect(
        (await shell(`for i in 1 2 3 4 5; do cat "$1"; done; stat "$1" "$2" > /dev/null`, path("warm"), path("cold")))
          .stdout,
      ).toBe("warm".repeat(5));
      opener.kill("SIGKILL");
      await once(opener, "exit");
      expect(operations.opens.filter(({ interrupted }) => interrupted)).toHaveLength(1000);
    });
  });

  describe("what the kernel keeps", () => {
    test("changed content and names are seen after an invalidation, and not before", async () => {
      operations.openReply = { keepCache: true };
      const node = operations.add("/f", "old words");
      const { ino } = node.attributes;
      const show = async () => (await shell(`cat "$1"; ls "$2"`, path("f"), path("late"))).stdout;
      expect(await show()).toBe("old words");
      operations.setContent(node, Buffer.from("new words"));
      operations.add("/late", "");
      expect(await show()).toBe("old words");
      session.invalidateInode(ino, { data: true });
      session.invalidateEntry(operations.root.attributes.ino, "late");
      await eventuallyAsync(async () => (await show()) === `new words${path("late")}\n`);
    });

    test("a listing is asked for once; what the kernel changes shows, what changes underneath after an invalidation", async () => {
      operations.cachesListings = true;
      const directory = operations.add("/d", null);
      operations.add("/d/a", "");
      const list = async () => (await shell(`ls "$1"`, path("d"))).stdout.replaceAll("\n", " ");
      expect(await list()).toBe("a ");
      const asked = operations.listings;
      expect(await list()).toBe("a ");
      expect(operations.listings).toBe(asked);
      await shell(`touch "$1/b"`, path("d"));
      expect(await list()).toBe("a b ");
      // The directory's new time arrives with the first listing, so the second one is kept.
      expect(await list()).toBe("a b ");
      operations.add("/d/c", "");
      expect(await list()).toBe("a b ");
      session.invalidateInode(directory.attributes.ino, { data: true });
      await eventuallyAsync(async () => (await list()) === "a b c ");
    });

    test("changed attributes are seen after an invalidation of attributes only, which keeps the pages", async () => {
      operations.openReply = { keepCache: true };
      const node = operations.add("/f", "old words");
      const show = async () => (await shell(`stat -c %u "$1"; cat "$1"`, path("f"))).stdout;
      expect(await show()).toBe("0\nold words");
      operations.setContent(node, Buffer.from("new words"));
      node.attributes = { ...node.attributes, uid: 77 };
      session.invalidateInode(node.attributes.ino, { data: false });
      await eventuallyAsync(async () => (await show()) === "77\nold words");
    });

    test("an invalidation cannot lock the daemon while a lookup in the same directory is unanswered", async () => {
      operations.add("/d", null);
      operations.add("/d/f", "x");
      await run("stat", [path("d")]);
      const gate = deferred<void>();
      let waiting = 0;
      operations.beforeLookup = () => {
        waiting++;
        return gate.promise;
      };
      const looking = run("stat", ["-c", "%s", path("d/f")]);
      await eventually(() => waiting === 1, "the lookup waits");
      const { ino } = operations.at("/d")!.attributes;
      for (let index = 0; index < 10; index++) session.invalidateEntry(ino, `name-${index}`);
      session.invalidateEntry(ino, "f");
      await new Promise((resolve) => setTimeout(resolve, 50));
      gate.resolve();
      expect((await looking).stdout).toBe("1\n");
    });

    test("every inode is forgotten when the kernel drops its caches, and none before", async () => {
      operations.add("/d", null);
      for (let index = 0; index < 50; index++) operations.add(`/d/${index}`, "x");
      await run("ls", ["-l", path("d")]);
      await run("cat", [path("d/7"), path("d/8")]);
      expect(operations.forgotten).toEqual([]);
      await shell(`rm "$1"`, path("d/7"));
      await eventually(() => operations.forgotten.length === 1, "the removed file is forgotten");
      const known = [...operations.nodes.keys()].filter((ino) => ino !== 1).sort();
      await eventuallyAsync(async () => {
        await writeFile("/proc/sys/vm/drop_caches", "2");
        return operations.forgotten.length === known.length;
      });
      expect([...operations.forgotten].sort()).toEqual(known);
    });

    test("an unmount forgets what was known and releases what was open", async () => {
      operations.add("/f", "x");
      const holder = start("tail", ["-f", path("f")]);
      await eventually(() => operations.openHandles.size === 1, "the file is open");
      await session.unmount({ lazy: true });
      holder.kill("SIGKILL");
      await session.closed;
      expect(operations.openHandles.size).toBe(0);
      expect(operations.forgotten).toEqual([operations.at("/f")!.attributes.ino]);
    });

    test("writes keep their bytes while they wait, whatever arrives meanwhile", async () => {
      const gate = deferred<void>();
      let waiting = 0;
      operations.beforeWrite = () => {
        waiting++;
        return gate.promise;
      };
      const writers = ["a", "b", "c"].map((letter) =>
        shell(
          `head -c 300000 /dev/zero | tr '\\0' ${letter} | dd of="$1" bs=300000 iflag=fullblock 2>/dev/null`,
          path(letter),
        ),
      );
      await eventually(() => waiting === 3, "three writes wait");
      await run("ls", ["-l", mountpoint]);
      gate.resolve();
      await Promise.all(writers);
      for (const letter of ["a", "b", "c"]) {
        expect(operations.at(`/${letter}`)!.data.subarray(0, 300_000).equals(Buffer.alloc(300_000, letter))).toBe(true);
      }
    });

    test("entries that time out at once are asked for again", async () => {
      operations.timeoutMs = ms(0);
      const node = operations.add("/f", "one");
      expect((await run("cat", [path("f")])).stdout).toBe("one");
      operations.setContent(node, Buffer.from("three"));
      expect((await run("stat", ["-c", "%s", path("f")])).stdout).toBe("5\n");
    });
  });

  describe("mounting and unmounting", () => {
    test("an idle mount unmounts, and the path is an ordinary directory again", async () => {
      await run("ls", [mountpoint]);
      await session.unmount({ lazy: false });
      await session.closed;
      expect(await findCasfsMount(mountpoint)).toBeUndefined();
    });

    test("a busy mount is refused as busy, and leaves with lazy when its last user has gone", async () => {
      // Not by `cwd` of spawn: libuv changes the directory while this process waits for the child to get that far.
      const user = start("bash", ["-c", 'cd "$1" && exec sleep 60', "bash", mountpoint]);
      await eventually(() => readlinkSync(`/proc/${user.pid}/cwd`) === mountpoint, "somebody is there");
      await expect(session.unmount({ lazy: false })).rejects.toMatchObject({ kind: "busy" });
      expect(await findCasfsMount(mountpoint)).toBeDefined();
      await session.unmount({ lazy: true });
      expect(await findCasfsMount(mountpoint)).toBeUndefined();
      user.kill("SIGKILL");
      await session.closed;
    });

    test("an unmount from outside ends the session", async () => {
      expect((await run("umount", ["-i", mountpoint])).status).toBe(0);
      await session.closed;
      await expect(session.unmount({ lazy: false })).rejects.toMatchObject({ kind: "not-found" });
    });

    test("an abort by the administrator is no orderly end: closed rejects, and what is left can be unmounted", async () => {
      const control = join(directory, "control");
      await mkdir(control);
      await run("mount", ["-t", "fusectl", "fusectl", control]);
      try {
        const device = (await findMountAt(mountpoint))!.device.split(":")[1]!;
        await writeFile(join(control, device, "abort"), "1");
        await expect(session.closed).rejects.toMatchObject({
          kind: "unavailable",
          hint: expect.stringContaining("casfs unmount"),
        });
      } finally {
        await run("umount", [control]);
      }
      await session.unmount({ lazy: false });
      expect(await findCasfsMount(mountpoint)).toBeUndefined();
    });

    test("a lazy unmount lets opens that wait finish", async () => {
      const node = operations.add("/cold", "x");
      operations.parked.set(node.attributes.ino, new Set());
      const reading = run("cat", [path("cold")]);
      await eventually(() => operations.parked.get(node.attributes.ino)!.size === 1, "the open waits");
      await session.unmount({ lazy: true });
      operations.unpark(node.attributes.ino);
      expect((await reading).stdout).toBe("x");
      await session.closed;
    });

    test("the mount table tells mountpoint and source, with spaces and backslashes", async () => {
      await session.unmount({ lazy: false });
      await session.closed;
      session = await mount({ source: "casfs:/state dir\\x" });
      expect(await findCasfsMount(path("below"))).toEqual({ mountpoint, source: "casfs:/state dir\\x" });
      expect(await listCasfsMounts()).toContainEqual({ mountpoint, source: "casfs:/state dir\\x" });
      expect(await findCasfsMount(directory)).toBeUndefined();
    });

    test("mountpoints that cannot be used are named, with what to do", async () => {
      const mountOn = (place: string) =>
        driver.mount({ mountpoint: place, source: "casfs:x", allowOther: false, readOnly: false }, operations);
      await expect(mountOn(join(directory, "absent"))).rejects.toThrow(/there is no such directory/);
      await writeFile(join(directory, "file"), "");
      await expect(mountOn(join(directory, "file"))).rejects.toThrow(/not a directory/);
      await expect(mountOn(mountpoint)).rejects.toMatchObject({ kind: "busy" });
      await symlink(mountpoint, join(directory, "link"));
      await expect(mountOn(join(directory, "link"))).rejects.toMatchObject({ kind: "busy" });
      await expect(unmountPath(directory, { lazy: false })).rejects.toMatchObject({ kind: "not-found" });
    });
  });
});

describe.skipIf(reason !== undefined)(`a daemon process${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let directory: string;
  let mountpoint: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "casfs-daemon-"));
    mountpoint = join(directory, "mnt");
    await mkdir(mountpoint);
    await compileDaemon(directory);
  });

  afterEach(async () => {
    await unmountPath(mountpoint, { lazy: true }).catch(() => undefined);
    await rm(directory, { recursive: true });
  });

  const startDaemon = async () => {
    const daemon = spawn("node", [join(directory, "test/support/kernel-mount-daemon.js"), mountpoint, "5", "1"], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    await once(daemon.stdout!, "data");
    return daemon;
  };

  test.each([
    ["exit", 7],
    ["throw", 1],
  ])(
    "that ends by %s ends at once, and leaves a stale mount that is named and can be unmounted",
    async (how, status) => {
      const daemon = await startDaemon();
      expect((await run("ls", [join(mountpoint, "many")])).stdout.split("\n")).toHaveLength(6);
      daemon.stdin!.write(`${how}\n`);
      const [code] = await once(daemon, "exit");
      expect(code).toBe(status);
      const driver = kernelDriver({ onError: () => undefined, onWarning: () => undefined });
      const again = driver.mount(
        { mountpoint, source: "x", allowOther: false, readOnly: false },
        new MemoryFuseOperations(),
      );
      await expect(again).rejects.toMatchObject({
        message: expect.stringContaining("Transport endpoint is not connected"),
        hint: expect.stringContaining(`casfs unmount ${mountpoint}`),
      });
      await unmountPath(mountpoint, { lazy: false });
      expect(await findCasfsMount(mountpoint)).toBeUndefined();
    },
  );

  test("that unmounts has nothing left to wait for and ends by itself", async () => {
    const daemon = await startDaemon();
    daemon.stdin!.write("unmount\n");
    const [code] = await once(daemon, "exit");
    expect(code).toBe(0);
  });
});

/** Node 20 runs no TypeScript, and the daemon must be a process of its own. */
async function compileDaemon(outDir: string): Promise<void> {
  const root = resolve(import.meta.dirname, "../..");
  const project = join(outDir, "tsconfig.json");
  await writeFile(
    project,
    JSON.stringify({
      extends: join(root, "tsconfig.json"),
      compilerOptions: {
        noEmit: false,
        noCheck: true,
        outDir,
        rootDir: root,
        typeRoots: [join(root, "node_modules/@types")],
      },
      include: [],
      files: [join(root, "test/support/kernel-mount-daemon.ts")],
    }),
  );
  await writeFile(join(outDir, "package.json"), '{"type":"module"}');
  const compiled = await run(join(root, "node_modules/.bin/tsc"), ["-p", project]);
  expect(compiled).toMatchObject({ status: 0, stdout: "" });
}

async function eventuallyAsync(condition: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  throw new Error("Waited in vain");
}
