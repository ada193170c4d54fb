/** The session against a kernel made of byte arrays: what a mount cannot show, or not on demand. */

import { constants } from "node:os";
import { beforeEach, describe, expect, test } from "vitest";
import { FileSystemError } from "../../../src/domain/errors.js";
import { type InodeNumber, rootIno } from "../../../src/domain/ids.js";
import { ms } from "../../../src/domain/time.js";
import { deviceBuffer } from "../../../src/fuse/kernel/device-buffer.js";
import { DirectoryReply } from "../../../src/fuse/kernel/directory-reply.js";
import { KnownInodes } from "../../../src/fuse/kernel/known-inodes.js";
import { opcode } from "../../../src/fuse/kernel/protocol.js";
import { KernelSession, type SessionTransport } from "../../../src/fuse/kernel/session.js";
import { putReplyHeader } from "../../../src/fuse/kernel/wire-reply.js";
import {
  fixtureAttributes,
  fixtureNode,
  madeRequest,
  replyFixture,
  requestBytes,
  requestFixture,
  requestFixtureNames,
} from "../../support/fuse-wire.js";
import { MemoryFuseOperations } from "../../support/memory-fuse-operations.js";

const { errno } = constants;

/** Takes replies; `gone` makes it answer as if no request waited. */
class FakeTransport implements SessionTransport {
  readonly replies: Buffer[] = [];
  readonly notifications: Buffer[] = [];
  gone = false;
  refuse = false;
  held = 0;

  reply(bytes: Uint8Array, length: number): boolean {
    if (this.refuse) {
      this.refuse = false;
      throw Object.assign(new Error("EINVAL"), { code: "EINVAL" });
    }
    if (!this.gone) this.replies.push(Buffer.from(bytes.subarray(0, length)));
    return !this.gone;
  }
  async notify(bytes: Uint8Array): Promise<boolean> {
    this.notifications.push(Buffer.from(bytes));
    return !this.gone;
  }
  holdRequest() {
    this.held++;
    return { bytes: this.current!.bytes, view: this.current!.view };
  }
  releaseRequest(): void {
    this.held--;
  }
  current: ReturnType<typeof madeRequest> | undefined;

  /** Error number of the only reply there should be, 0 for success. */
  get errno(): number {
    expect(this.replies).toHaveLength(1);
    return Math.abs(this.replies[0]!.readInt32LE(4));
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const name = (text: string) => Buffer.from(`${text}\0`);

let transport: FakeTransport;
let operations: MemoryFuseOperations;
let session: KernelSession;
let errors: unknown[];

beforeEach(() => {
  transport = new FakeTransport();
  operations = new MemoryFuseOperations();
  errors = [];
  session = new KernelSession(transport, operations, (operation, ino, error) => errors.push([operation, ino, error]));
});

/** A request for the root unless `node` says otherwise. */
async function ask(code: number, body: Buffer, { node = 1, unique = 2n }: { node?: number; unique?: bigint } = {}) {
  const request = madeRequest(code, unique, body);
  request.view.setBigUint64(16, BigInt(node), true);
  transport.current = request;
  session.receive(request);
  await settled();
}

describe("lookup counts", () => {
  test("an inode is forgotten when the last lookup is taken back, and not before", async () => {
    const { ino } = operations.add("/f", "x").attributes;
    await ask(opcode.lookup, name("f"));
    await ask(opcode.lookup, name("f"));
    await ask(opcode.forget, Buffer.from("0100000000000000", "hex"), { node: ino });
    expect(operations.forgotten).toEqual([]);
    const batch = Buffer.alloc(8 + 32);
    batch.writeUInt32LE(2, 0);
    batch.writeUInt32LE(ino, 8);
    batch.writeUInt32LE(1, 16);
    batch.writeUInt32LE(99, 24);
    batch.writeUInt32LE(1, 32);
    await ask(opcode.batchForget, batch);
    expect(operations.forgotten).toEqual([ino]);
    expect(transport.replies).toHaveLength(2);
    expect(session.knownInodeCount).toBe(0);
  });

  test("a lookup whose request is gone does not count", async () => {
    const { ino } = operations.add("/f", "x").attributes;
    transport.gone = true;
    await ask(opcode.lookup, name("f"));
    expect(session.knownInodeCount).toBe(0);
    expect(operations.forgotten).toEqual([ino]);
  });

  test("entries of a READDIRPLUS reply count when it arrives and not when it is gone; . and .. never", async () => {
    for (const file of ["a", "b", "c"]) operations.add(`/${file}`, "x");
    await ask(opcode.opendir, Buffer.alloc(8));
    const read = Buffer.alloc(40);
    read.writeBigUInt64LE(transport.replies[0]!.readBigUInt64LE(16), 0);
    read.writeUInt32LE(4096, 16);
    await ask(opcode.readdirplus, read);
    // The first page has the attributes of all but one: who asks for that one looks at them.
    expect(session.knownInodeCount).toBe(2);
    transport.gone = true;
    await ask(opcode.readdirplus, read);
    expect(operations.forgotten).toEqual([]);
    await session.end();
    expect(operations.forgotten).toHaveLength(2);
    expect(operations.openDirectories.size).toBe(0);
  });

  test("entries of a READDIR reply do not count", async () => {
    operations.add("/a", "x");
    await ask(opcode.opendir, Buffer.alloc(8));
    const read = Buffer.alloc(40);
    read.writeBigUInt64LE(transport.replies[0]!.readBigUInt64LE(16), 0);
    read.writeUInt32LE(4096, 16);
    await ask(opcode.readdir, read);
    expect(session.knownInodeCount).toBe(0);
  });
});

describe("requests that are gone", () => {
  test("the handle of an OPEN, CREATE or OPENDIR is released again", async () => {
    const { ino } = operations.add("/f", "x").attributes;
    transport.gone = true;
    await ask(opcode.open, Buffer.alloc(8), { node: ino });
    await ask(opcode.create, Buffer.concat([Buffer.alloc(16), name("new")]));
    await ask(opcode.opendir, Buffer.alloc(8));
    expect(operations.openHandles.size).toBe(0);
    expect(operations.openDirectories.size).toBe(0);
    expect(operations.forgotten).toEqual([operations.at("/new")!.attributes.ino]);
    await session.end();
    expect(errors).toEqual([]);
  });
});

describe("interrupts", () => {
  const interrupt = (unique: bigint) => {
    const body = Buffer.alloc(8);
    body.writeBigUInt64LE(unique);
    return body;
  };
  const parked = () => {
    const { ino } = operations.add("/cold", "x").attributes;
    operations.parked.set(ino, new Set());
    return ino;
  };

  test("reach the request that they name, and that one is answered EINTR", async () => {
    const node = parked();
    await ask(opcode.open, Buffer.alloc(8), { node, unique: 10n });
    await ask(opcode.interrupt, interrupt(10n), { unique: 11n });
    expect(transport.errno).toBe(errno.EINTR);
    expect(transport.replies[0]!.readBigUInt64LE(8)).toBe(10n);
  });

  test("find a resent request, whose unique has bit 63, and uniques that no double can hold", async () => {
    const node = parked();
    const large = 0x0123_4567_89ab_cde2n;
    await ask(opcode.open, Buffer.alloc(8), { node, unique: large | (1n << 63n) });
    await ask(opcode.open, Buffer.alloc(8), { node, unique: large + (1n << 32n) });
    await ask(opcode.interrupt, interrupt(large), { unique: large + 1n });
    expect(transport.errno).toBe(errno.EINTR);
    expect(transport.replies[0]!.readBigUInt64LE(8)).toBe(large | (1n << 63n));
  });

  test("for a request that is not known are answered EAGAIN", async () => {
    await ask(opcode.interrupt, interrupt(98n), { unique: 99n });
    expect(transport.errno).toBe(errno.EAGAIN);
    expect(transport.replies[0]!.readBigUInt64LE(8)).toBe(99n);
  });

  test("that came before anybody asked for the signal show in it", async () => {
    let resume!: () => void;
    operations.beforeLookup = () =>
      new Promise((resolve) => {
        resume = resolve;
      });
    let seen: AbortSignal | undefined;
    const lookup = operations.lookup.bind(operations);
    operations.lookup = async (caller, parent, text) => {
      const reply = await lookup(caller, parent, text);
      seen = caller.signal;
      return reply;
    };
    await ask(opcode.lookup, name("f"), { unique: 20n });
    await ask(opcode.interrupt, interrupt(20n), { unique: 21n });
    resume();
    await settled();
    expect(seen?.aborted).toBe(true);
  });

  test("of all waiting requests come with the end of the connection, which waits for them", async () => {
    const node = parked();
    await ask(opcode.open, Buffer.alloc(8), { node });
    transport.gone = true;
    await session.end();
    expect(operations.opens[0]!.interrupted).toBe(true);
  });
});

describe("answers", () => {
  test("an opcode that is not known is ENOSYS and reported once; ACCESS, locks, BMAP and POLL are left to the kernel", async () => {
    for (const code of [4242, 4242]) {
      transport.replies.length = 0;
      await ask(code, Buffer.alloc(64));
      expect(transport.errno).toBe(errno.ENOSYS);
    }
    expect(errors).toEqual([["opcode 4242", 1, expect.any(Error)]]);
    for (const request of ["access", "setlk", "bmap", "poll"]) {
      transport.replies.length = 0;
      session.receive(requestFixture(request));
      expect(transport.errno).toBe(errno.ENOSYS);
    }
    expect(errors).toHaveLength(1);
    transport.replies.length = 0;
    session.receive(requestFixture("ioctl"));
    expect(transport.errno).toBe(errno.ENOTTY);
  });

  test("a request whose length is not what it says, or that ends too early anywhere, is EINVAL and never reaches an operation", async () => {
    const touched: string[] = [];
    const spy = new Proxy(operations, {
      get:
        (target, property) =>
        (...parameters: unknown[]) => {
          touched.push(String(property));
          return Reflect.apply(Reflect.get(target, property), target, parameters);
        },
    });
    const strict = new KernelSession(transport, spy, (...error) => errors.push(error));
    touched.length = 0;
    const withoutReply = ["forget", "batchForget", "interrupt", "destroy", "init", "readlink", "statfs", "access"];
    // The name of TMPFILE says nothing, and is not read.
    const others = ["tmpfile", "setlk", "bmap", "poll", "ioctl", "statx", ...withoutReply];
    for (const fixture of requestFixtureNames.filter((one) => !others.includes(one))) {
      const whole = requestFixture(fixture);
      for (let length = 40; length < whole.length; length++) {
        // Once cut, and once with a header that agrees.
        for (const isHonest of [false, true]) {
          const cut = requestBytes(Buffer.from(whole.bytes.subarray(0, length)));
          if (isHonest) cut.view.setUint32(0, length, true);
          transport.replies.length = 0;
          transport.current = cut;
          strict.receive(cut);
          expect(Math.abs(transport.replies[0]!.readInt32LE(4)), `${fixture} of ${length} bytes`).toBe(errno.EINVAL);
        }
      }
    }
    expect(touched).toEqual([]);
    expect(transport.held).toBe(0);
    transport.replies.length = 0;
    strict.receive(requestBytes(Buffer.alloc(39)));
    expect(transport.replies).toEqual([]);
    expect(errors).toHaveLength(1);
  });

  test("COPY_FILE_RANGE goes from handle to handle, in its form of 32 and of 64 bits", async () => {
    const { ino: source } = operations.add("/from", "0123456789").attributes;
    const { ino: target } = operations.add("/to", "----------").attributes;
    await ask(opcode.open, Buffer.alloc(8), { node: source });
    await ask(opcode.open, Buffer.alloc(8), { node: target });
    const [from, to] = transport.replies.map((reply) => reply.readBigUInt64LE(16));
    for (const code of [opcode.copyFileRange, opcode.copyFileRange64]) {
      const body = Buffer.alloc(56);
      for (const [index, value] of [from!, 2n, BigInt(target), to!, 4n, 3n, 0n].entries()) {
        body.writeBigUInt64LE(value, index * 8);
      }
      transport.replies.length = 0;
      await ask(code, body, { node: source });
      expect(transport.errno).toBe(0);
      expect(transport.replies[0]!.readBigUInt64LE(16)).toBe(3n);
    }
    expect(operations.at("/to")!.data.toString()).toBe("----234---");
    transport.replies.length = 0;
    const far = Buffer.alloc(56, 0xff);
    await ask(opcode.copyFileRange, far, { node: source });
    expect(transport.errno).toBe(errno.EFBIG);
  });

  test("TMPFILE opens a file without a name, which counts as looked up", async () => {
    session.receive(requestFixture("tmpfile"));
    await settled();
    expect(transport.errno).toBe(0);
    const reply = transport.replies[0]!;
    expect(reply).toHaveLength(16 + 128 + 16);
    const ino = Number(reply.readBigUInt64LE(16)) as InodeNumber;
    expect(operations.nodes.get(ino)!.attributes).toMatchObject({ nlink: 0, mode: 0o100640, uid: 1001, gid: 1002 });
    expect(session.knownInodeCount).toBe(1);
    expect(operations.openHandles.size).toBe(1);
  });

  test("LOOKUP of . and .. finds an inode by its number alone, for who has kept a file handle", async () => {
    operations.add("/d", null);
    const { ino } = operations.add("/d/f", "x").attributes;
    await ask(opcode.lookup, name("."), { node: ino });
    await ask(opcode.lookup, name(".."), { node: operations.at("/d")!.attributes.ino });
    await ask(opcode.lookup, name("."), { node: 4711 });
    const [itself, parent, gone] = transport.replies;
    expect([itself!.readBigUInt64LE(16), parent!.readBigUInt64LE(16)]).toEqual([BigInt(ino), 1n]);
    expect(-gone!.readInt32LE(4)).toBe(errno.ESTALE);
  });

  test("a WRITE appends when the file does at that moment, and not when it opened so", async () => {
    const { ino } = operations.add("/f", "0123456789").attributes;
    for (const fixture of ["write", "writeAppend"]) {
      const request = requestFixture(fixture);
      request.view.setBigUint64(16, BigInt(ino), true);
      request.view.setBigUint64(48, 2n, true);
      transport.current = request;
      session.receive(request);
      await settled();
    }
    expect(operations.at("/f")!.data.subarray(0, 15).toString()).toBe("01hello789hello");
  });

  test("INIT makes the session work, and a kernel that is too old is said to be", async () => {
    session.receive(requestFixture("init"));
    await session.initialised;
    expect(transport.replies[0]!.toString("hex")).toBe(replyFixture("init"));
    const old = new KernelSession(transport, operations, () => undefined);
    old.receive(madeRequest(opcode.init, 2n, Buffer.from("0700000008000000", "hex")));
    await expect(old.initialised).rejects.toMatchObject({ kind: "not-supported" });
  });

  test("a LOOKUP of a name that is not UTF-8 is ENOENT, making it EILSEQ, a long one ENAMETOOLONG", async () => {
    const cases: [number, Buffer, number][] = [
      [opcode.lookup, Buffer.from("ff00", "hex"), errno.ENOENT],
      [opcode.mkdir, Buffer.from("0000000000000000ff00", "hex"), errno.EILSEQ],
      [opcode.symlink, Buffer.from("6100ff00", "hex"), errno.EILSEQ],
      [opcode.lookup, name("n".repeat(256)), errno.ENAMETOOLONG],
    ];
    for (const [code, body, expected] of cases) {
      transport.replies.length = 0;
      await ask(code, body);
      expect(transport.errno).toBe(expected);
    }
  });

  test("offsets beyond 2^53 read nothing and cannot be written", async () => {
    const body = Buffer.alloc(40);
    body.writeBigUInt64LE(1n << 60n, 8);
    body.writeUInt32LE(10, 16);
    await ask(opcode.read, body);
    expect(transport.replies[0]!).toHaveLength(16);
    expect(transport.errno).toBe(0);
    transport.replies.length = 0;
    await ask(opcode.write, Buffer.concat([body, Buffer.alloc(10)]));
    expect(transport.errno).toBe(errno.EFBIG);
    expect(transport.held).toBe(0);
  });

  test("a write gives its buffer back whether it succeeds or fails", async () => {
    const { ino } = operations.add("/f", "").attributes;
    const body = Buffer.concat([Buffer.alloc(40), Buffer.from("hello")]);
    body.writeUInt32LE(5, 16);
    await ask(opcode.write, body, { node: ino });
    await ask(opcode.write, body, { node: 4711 });
    expect(operations.at("/f")!.data.toString()).toBe("hello");
    expect(transport.replies.map((reply) => Math.abs(reply.readInt32LE(4)))).toEqual([0, errno.ESTALE]);
    expect(transport.held).toBe(0);
  });

  test("access control lists and labels are not supported, so that ls asks once and cp uses chmod", async () => {
    for (const attribute of ["system.posix_acl_access", "security.selinux"]) {
      transport.replies.length = 0;
      await ask(opcode.getxattr, Buffer.concat([Buffer.alloc(8), name(attribute)]));
      expect(transport.errno).toBe(errno.EOPNOTSUPP);
    }
  });

  test("a bug in an operation is EIO and reported with its name and inode", async () => {
    operations.failures.set("f", new RangeError("bug"));
    await ask(opcode.lookup, name("f"));
    expect(transport.errno).toBe(errno.EIO);
    expect(errors).toEqual([["lookup", 1, expect.any(RangeError)]]);
  });

  test("an operation that throws at once is answered too", async () => {
    operations.unlink = () => {
      throw new FileSystemError("read-only", "No");
    };
    await ask(opcode.unlink, name("f"));
    expect(transport.errno).toBe(errno.EROFS);
  });

  test("a reply that the kernel refuses is followed by EIO, so that nobody waits for ever", async () => {
    operations.add("/f", "x");
    transport.refuse = true;
    await ask(opcode.lookup, name("f"));
    expect(transport.errno).toBe(errno.EIO);
    expect(errors).toHaveLength(1);
  });
});

describe("notifications", () => {
  test("go only to what the kernel knows, and equal ones that wait go once", async () => {
    const { ino } = operations.add("/f", "x").attributes;
    session.invalidateInode(ino, true);
    await settled();
    expect(transport.notifications).toHaveLength(0);
    await ask(opcode.lookup, name("f"));
    for (let index = 0; index < 100; index++) {
      session.invalidateInode(ino, index % 2 === 0);
      session.invalidateEntry(1 as InodeNumber, "f");
    }
    await settled();
    expect(transport.notifications.length).toBeLessThan(8);
  });
});

describe("directory replies", () => {
  const bytesOf = (plus: boolean) => {
    const buffer = deviceBuffer(4096);
    const listing = new DirectoryReply(buffer, {
      sizeBytes: 2048,
      shown: plus ? "all" : null,
      inodes: new KnownInodes(),
    });
    const attributes = { ...fixtureAttributes, ino: fixtureNode as InodeNumber };
    const entry = { attributes, entryTimeoutMs: ms(3_600_000), attributesTimeoutMs: ms(1500) };
    expect(listing.add(".", 1, 1 as InodeNumber, 0o40755, null)).toBe(true);
    expect(listing.add("naïve name", 0x100000001, attributes.ino, attributes.mode, entry)).toBe(true);
    putReplyHeader(buffer.view, 0, 16 + listing.usedBytes, 0, 0x2233_4456, 0x8000_0011);
    return buffer.bytes.toString("hex", 0, 16 + listing.usedBytes);
  };

  test("have the bytes of the kernel's C structures", () => {
    expect(bytesOf(true)).toBe(replyFixture("readdirplus"));
    expect(bytesOf(false)).toBe(replyFixture("readdir"));
  });

  test.each([true, false])(
    "never exceed the size that was asked for, and say when they are full (plus: %s)",
    (plus) => {
      for (const text of ["n", "name-of-some-length", "ünïcödé", "文".repeat(80)]) {
        for (let sizeBytes = 0; sizeBytes < 1200; sizeBytes += 7) {
          const inodes = new KnownInodes();
          const listing = new DirectoryReply(deviceBuffer(4096), { sizeBytes, shown: plus ? "all" : null, inodes });
          const attributes = { ...fixtureAttributes, ino: 5 as InodeNumber };
          const entry = { attributes, entryTimeoutMs: ms(0), attributesTimeoutMs: ms(0) };
          let count = 0;
          while (listing.add(text, count + 1, attributes.ino, attributes.mode, entry)) count++;
          expect(listing.usedBytes).toBeLessThanOrEqual(sizeBytes);
          const each = Math.ceil((Buffer.byteLength(text) + 24) / 8) * 8 + (plus ? 128 : 0);
          expect(count).toBe(Math.floor(sizeBytes / each));
          listing.undo(() => undefined);
          expect(inodes.size).toBe(0);
        }
      }
    },
  );
});

describe("after a process that served the mount before", () => {
  const resent = 0x8000_0000_0000_0002n;

  test("INIT is not waited for, and what that process had read is asked for again", async () => {
    await session.succeed({ privilegedModes: [] });
    await session.initialised;
    const [asked] = transport.notifications;
    expect([asked!.readUInt32LE(0), asked!.readInt32LE(4), asked!.readBigUInt64LE(8)]).toEqual([16, 7, 0n]);
  });

  test("a kernel that cannot send again is not served on", async () => {
    transport.gone = true;
    await expect(session.succeed({ privilegedModes: [] })).rejects.toMatchObject({ kind: "not-supported" });
  });

  test("what only looks is done again, its unique kept", async () => {
    await session.succeed({ privilegedModes: [] });
    operations.add("/f", "x");
    await ask(opcode.lookup, name("f"), { unique: resent });
    expect(transport.errno).toBe(0);
    expect(transport.replies[0]!.readBigUInt64LE(8)).toBe(resent);
  });

  test("what makes or moves names is not done twice: EIO, and the kernel looks again", async () => {
    await session.succeed({ privilegedModes: [] });
    transport.notifications.length = 0;
    await ask(opcode.mkdir, Buffer.concat([Buffer.alloc(8), name("made")]), { unique: resent });
    expect(transport.errno).toBe(errno.EIO);
    expect(
      await operations.lookup({ uid: 0, gid: 0, pid: 1, signal: new AbortController().signal }, rootIno, "made"),
    ).toMatchObject({ attributes: null });
    await settled();
    const codes = transport.notifications.map((bytes) => -bytes.readInt32LE(4));
    expect(codes.map(Math.abs).sort()).toEqual([2, 3]);
    transport.replies.length = 0;
    const to = Buffer.alloc(8);
    to.writeBigUInt64LE(77n);
    transport.notifications.length = 0;
    await ask(opcode.rename, Buffer.concat([to, name("old"), name("new")]), { unique: resent });
    await settled();
    expect(transport.errno).toBe(errno.EIO);
    const entries = transport.notifications.filter((bytes) => Math.abs(bytes.readInt32LE(4)) === 3);
    expect(entries.map((bytes) => [Number(bytes.readBigUInt64LE(16)), bytes.subarray(32, -1).toString()])).toEqual([
      [1, "old"],
      [1, "new"],
      [77, "old"],
      [77, "new"],
    ]);
  });

  test("inodes that only that process had told of can be invalidated, and lose set-user-id by a write", async () => {
    await session.succeed({ privilegedModes: [[99 as InodeNumber, 0o104755]] });
    transport.notifications.length = 0;
    session.invalidateInode(99 as InodeNumber, true);
    await settled();
    expect(transport.notifications).toHaveLength(1);
    const inodes = new KnownInodes();
    inodes.inherit([[99 as InodeNumber, 0o104755]]);
    expect(inodes.modeWithoutPrivileges(99 as InodeNumber)).toBe(0o100755);
  });
});
