import { describe, expect, test } from "vitest";
import { KernelRequest } from "../../../src/fuse/kernel/kernel-request.js";
import { isWhole } from "../../../src/fuse/kernel/request-shape.js";
import {
  forEachForget,
  int64,
  isExact,
  nameAt,
  readCopyFileRange,
  readCreate,
  readFallocate,
  readFirstNode,
  readForgetCount,
  readFsyncFlags,
  readGetattr,
  readHandle,
  readInit,
  readInterrupt,
  readLseek,
  readMkdirMode,
  readMknod,
  readName,
  readOpen,
  readRename2Flags,
  readSetattr,
  readSetxattr,
  readTransfer,
  readTwoNames,
  readWriteOpenFlags,
  readXattrSize,
  uint64,
} from "../../../src/fuse/kernel/wire-request.js";
import {
  fixtureNode,
  madeRequest,
  requestBytes,
  requestFixture,
  requestFixtureNames,
} from "../../support/fuse-wire.js";

describe("requests of the kernel are read as its C structures lay them out", () => {
  test("header", () => {
    const request = new KernelRequest(requestFixture("lookup").view);
    expect(request).toMatchObject({ opcode: 1, node: fixtureNode, uid: 1001, gid: 1002, pid: 4321 });
    expect(request).toMatchObject({ uniqueHigh: 0x8000_0011, uniqueLow: 0x2233_4456 });
  });

  test("INIT", () => {
    const { flags, ...rest } = readInit(requestFixture("init"));
    expect(flags >>> 0).toBe(0xffff_ffff);
    expect(rest).toEqual({ major: 7, minor: 45, maxReadaheadBytes: 131072, flags2: 0x3ff });
  });

  test("INIT of a kernel that knows no second flags", () => {
    const body = Buffer.from("0700000017000000000002002900000011111111", "hex").subarray(0, 16);
    expect(readInit(madeRequest(26, 1n, body))).toMatchObject({ minor: 23, flags2: 0 });
  });

  test("FORGET and BATCH_FORGET", () => {
    expect(readForgetCount(requestFixture("forget"))).toBe(7);
    const seen: [number, number][] = [];
    forEachForget(requestFixture("batchForget"), (node, lookups) => seen.push([node, lookups]));
    expect(seen).toEqual([
      [5, 1],
      [fixtureNode, 300],
    ]);
  });

  test("GETATTR and SETATTR", () => {
    expect(readGetattr(requestFixture("getattr"))).toEqual({ flags: 1, handle: 0x100000009 });
    expect(readSetattr(requestFixture("setattr"))).toEqual({
      handle: 77,
      dropsPrivileges: true,
      changes: {
        ...{ sizeBytes: 0x280000000007, mode: 0o100640, uid: 5, gid: 6 },
        atime: { seconds: 1_700_000_000, nanoseconds: 1 },
        mtime: { seconds: -312_840_000, nanoseconds: 123_456_789 },
        ctime: { seconds: 3, nanoseconds: 4 },
      },
    });
    expect(readSetattr(requestFixture("setattrNow"))).toEqual({
      handle: undefined,
      dropsPrivileges: false,
      changes: { atime: "now", mtime: "now" },
    });
  });

  test("names: SYMLINK, MKNOD, MKDIR, RENAME, RENAME2, LINK", () => {
    expect(readTwoNames(requestFixture("symlink"), nameAt(0), 4095)).toEqual(["link", "../target"]);
    expect(readMknod(requestFixture("mknod"))).toEqual({ mode: 0o100600, rdev: 0x103 });
    expect(readName(requestFixture("mknod"), nameAt(16))).toBe("node");
    expect(readMkdirMode(requestFixture("mkdir"))).toBe(0o750);
    expect(readName(requestFixture("mkdir"), nameAt(8))).toBe("dir");
    expect(readTwoNames(requestFixture("rename"), nameAt(8), 255)).toEqual(["old", "new"]);
    expect(readFirstNode(requestFixture("rename"))).toBe(fixtureNode + 1);
    expect(readTwoNames(requestFixture("rename2"), nameAt(16), 255)).toEqual(["old", "new"]);
    expect(readRename2Flags(requestFixture("rename2"))).toBe(2);
    expect(readFirstNode(requestFixture("link"))).toBe(42);
    expect(readName(requestFixture("link"), nameAt(8))).toBe("hard");
  });

  test("OPEN, CREATE, READ, WRITE, RELEASE, FSYNC", () => {
    expect(readOpen(requestFixture("open"))).toEqual({ flags: 0o104000, requestFlags: 1 });
    expect(readCreate(requestFixture("create"))).toEqual({ flags: 0o100301, mode: 0o100644 });
    expect(readName(requestFixture("create"), nameAt(16))).toBe("made");
    const place = { handle: 0x100000009, offset: 0x280000000000 };
    expect(readTransfer(requestFixture("read"))).toEqual({ ...place, sizeBytes: 131072, flags: 2 });
    expect(readTransfer(requestFixture("write"))).toEqual({ ...place, sizeBytes: 5, flags: 4 });
    expect(requestFixture("write").bytes.toString("latin1", 80, 85)).toBe("hello");
    expect(readHandle(requestFixture("release"))).toBe(9);
    expect(readFsyncFlags(requestFixture("fsync"))).toBe(1);
  });

  test("SETXATTR, GETXATTR, INTERRUPT, FALLOCATE, LSEEK", () => {
    expect(readSetxattr(requestFixture("setxattr"))).toEqual({ name: "user.a", flags: 1, value: Buffer.from("xyz") });
    expect(readXattrSize(requestFixture("getxattr"))).toBe(64);
    expect(readName(requestFixture("getxattr"), nameAt(8))).toBe("user.a");
    expect(readInterrupt(requestFixture("interrupt"))).toEqual({ uniqueHigh: 0x11, uniqueLow: 0x2233_4456 });
    expect(readFallocate(requestFixture("fallocate"))).toEqual({ handle: 9, offset: 4096, length: 2 ** 32, mode: 1 });
    expect(readLseek(requestFixture("lseek"))).toEqual({ handle: 9, offset: 2 ** 32, whence: 4 });
  });
});

describe("requests of newer protocols and other forms", () => {
  test("COPY_FILE_RANGE, WRITE with O_APPEND, TMPFILE", () => {
    for (const fixture of ["copyFileRange", "copyFileRange64"]) {
      expect(readCopyFileRange(requestFixture(fixture))).toEqual({
        from: { handle: 9, offset: 0x280000000000 },
        to: { handle: 0x100000009, offset: 4096 },
        toNode: fixtureNode + 1,
        length: 0x100000007,
      });
    }
    expect(readWriteOpenFlags(requestFixture("writeAppend"))).toBe(0o2002);
    expect(readWriteOpenFlags(requestFixture("write"))).toBe(0);
    expect(readCreate(requestFixture("tmpfile"))).toEqual({ flags: 0o20200002, mode: 0o100640 });
  });

  test("directories and names", () => {
    expect(readTransfer(requestFixture("readdirplus"))).toMatchObject({
      handle: 0x100000009,
      offset: 0x100000001,
      sizeBytes: 4096,
    });
    for (const fixture of ["releasedir", "fsyncdir", "flush"]) expect(readHandle(requestFixture(fixture))).toBe(9);
    for (const fixture of ["unlink", "rmdir"]) expect(readName(requestFixture(fixture), nameAt(0))).toBe("gone");
    expect(readName(requestFixture("removexattr"), nameAt(0))).toBe("user.a");
    expect(readXattrSize(requestFixture("listxattr"))).toBe(0);
  });

  test.each(requestFixtureNames)("%s is whole", (fixture) => {
    expect(isWhole(requestFixture(fixture))).toBe(true);
  });
});

describe("names", () => {
  test("are UTF-8", () => {
    expect(readName(requestFixture("lookup"), nameAt(0))).toBe("plain.txt");
    expect(readName(requestFixture("lookupUtf8"), nameAt(0))).toBe("ü文😀");
  });

  test.each(["lookupInvalid"])("that are not UTF-8 are refused (%s)", (name) => {
    expect(() => readName(requestFixture(name), nameAt(0))).toThrow(expect.objectContaining({ kind: "bad-name" }));
  });

  test("overlong forms and surrogates are not UTF-8", () => {
    for (const hex of ["c0af00", "eda08000", "f490808000", "e2820000"]) {
      const request = madeRequest(1, 1n, Buffer.from(hex, "hex"));
      expect(() => readName(request, nameAt(0))).toThrow(expect.objectContaining({ kind: "bad-name" }));
    }
  });

  test("of 255 bytes are taken, longer ones refused, counted in bytes", () => {
    const named = (name: string) => madeRequest(1, 1n, Buffer.from(`${name}\0`));
    expect(readName(named("n".repeat(255)), nameAt(0))).toHaveLength(255);
    expect(readName(named("ü".repeat(127)), nameAt(0))).toHaveLength(127);
    for (const name of ["n".repeat(256), "ü".repeat(128)]) {
      expect(() => readName(named(name), nameAt(0))).toThrow(expect.objectContaining({ kind: "name-too-long" }));
    }
  });
});

describe("64-bit numbers", () => {
  const view = (hex: string) => requestBytes(Buffer.from(hex, "hex")).view;

  test("are exact below 2^53 and told apart above", () => {
    expect(uint64(view("ffffffffffff1f00"), 0)).toBe(Number.MAX_SAFE_INTEGER);
    expect(isExact(uint64(view("ffffffffffff1f00"), 0))).toBe(true);
    expect(isExact(uint64(view("0000000000002000"), 0))).toBe(false);
    expect(isExact(uint64(view("ffffffffffffff7f"), 0))).toBe(false);
  });

  test("may be negative where the kernel says so", () => {
    expect(int64(view("ffffffffffffffff"), 0)).toBe(-1);
    expect(int64(view("00000000ffffffff"), 0)).toBe(-(2 ** 32));
  });
});
