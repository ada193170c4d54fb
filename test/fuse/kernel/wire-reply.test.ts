import { describe, expect, test } from "vitest";
import type { InodeNumber } from "../../../src/domain/ids.js";
import { ms } from "../../../src/domain/time.js";
import type { HandleNumber } from "../../../src/fuse/driver.js";
import { negotiate } from "../../../src/fuse/kernel/init.js";
import {
  invalEntryNotification,
  invalInodeNotification,
  putAttributesReply,
  putEntry,
  putInit,
  putInt64,
  putOpen,
  putReplyHeader,
  putSize,
  putStatfs,
} from "../../../src/fuse/kernel/wire-reply.js";
import { int64, readInit } from "../../../src/fuse/kernel/wire-request.js";
import {
  fixtureAttributes,
  fixtureNode,
  notificationFixture,
  replyFixture,
  requestFixture,
} from "../../support/fuse-wire.js";
import { fc } from "../../support/seeded-fast-check.js";

/** A reply to the fixtures' request, in a dirty buffer. */
function encoded(bodyBytes: number, put: (view: DataView, at: number) => void, errno = 0): string {
  const bytes = Buffer.alloc(512, 0xee);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  putReplyHeader(view, 0, 16 + bodyBytes, errno, 0x2233_4456, 0x8000_0011);
  put(view, 16);
  return bytes.toString("hex", 0, 16 + bodyBytes);
}

const ino = fixtureNode as InodeNumber;
const attributes = { ...fixtureAttributes, ino };
const entry = { attributes, entryTimeoutMs: ms(3_600_000), attributesTimeoutMs: ms(1500) };
const handle = 0x100000009 as HandleNumber;

describe("replies have the bytes of the kernel's C structures", () => {
  test("errors and empty replies keep bit 63 of the unique", () => {
    expect(encoded(0, () => undefined, 11)).toBe(replyFixture("error"));
    expect(encoded(0, () => undefined)).toBe(replyFixture("empty"));
  });

  test("INIT, as negotiated with a kernel that offers everything", () => {
    const negotiation = negotiate(readInit(requestFixture("init")));
    if (negotiation.outcome !== "agreed") throw new Error(negotiation.outcome);
    expect(encoded(64, (view, at) => putInit(view, at, 7, negotiation.reply))).toBe(replyFixture("init"));
  });

  test("entries, negative entries, attributes", () => {
    expect(encoded(128, (view, at) => putEntry(view, at, entry))).toBe(replyFixture("entry"));
    const negative = { attributes: null, entryTimeoutMs: ms(3250) };
    expect(encoded(128, (view, at) => putEntry(view, at, negative))).toBe(replyFixture("negativeEntry"));
    const reply = { attributes, attributesTimeoutMs: ms(1500) };
    expect(encoded(104, (view, at) => putAttributesReply(view, at, reply))).toBe(replyFixture("attributes"));
  });

  test("OPENDIR: FOPEN_CACHE_DIR needs FOPEN_KEEP_CACHE, or the next opening drops the listing", () => {
    const flags = new DataView(new ArrayBuffer(16));
    putOpen(flags, 0, { handle, cacheListing: true });
    expect(flags.getUint32(8, true)).toBe(0b1010);
  });

  test("OPEN, CREATE, WRITE, xattr size, statfs, LSEEK", () => {
    const open = { handle, directIo: true, keepCache: true };
    expect(encoded(16, (view, at) => putOpen(view, at, open))).toBe(replyFixture("open"));
    const created = encoded(144, (view, at) => {
      putEntry(view, at, entry);
      putOpen(view, at + 128, { handle });
    });
    expect(created).toBe(replyFixture("create"));
    expect(encoded(8, (view, at) => putSize(view, at, 5))).toBe(replyFixture("write"));
    expect(encoded(8, (view, at) => putSize(view, at, 1_048_576))).toBe(replyFixture("copyFileRange"));
    expect(encoded(8, (view, at) => putInt64(view, at, 0x280000000007))).toBe(replyFixture("copyFileRange64"));
    expect(encoded(8, (view, at) => putSize(view, at, 300))).toBe(replyFixture("xattrSize"));
    expect(encoded(8, (view, at) => putInt64(view, at, 0x280000000007))).toBe(replyFixture("lseek"));
    const statfs = {
      ...{ blockSizeBytes: 4096, blocks: 2 ** 40, blocksFree: 2 ** 39, blocksAvailable: 2 ** 38 },
      ...{ files: 1000, filesFree: 500, nameBytesMax: 255 },
    };
    expect(encoded(80, (view, at) => putStatfs(view, at, statfs))).toBe(replyFixture("statfs"));
  });

  test("notifications", () => {
    expect(invalInodeNotification(fixtureNode, false).toString("hex")).toBe(notificationFixture("inodeAttributes"));
    expect(invalInodeNotification(fixtureNode, true).toString("hex")).toBe(notificationFixture("inodeData"));
    expect(invalEntryNotification(1, "naï!").toString("hex")).toBe(notificationFixture("entry"));
  });
});

test("every whole number of up to 53 bits and either sign arrives as it was put", () => {
  const view = new DataView(new ArrayBuffer(8));
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      putInt64(view, 0, value);
      expect(view.getBigInt64(0, true)).toBe(BigInt(value));
      expect(int64(view, 0)).toBe(value);
    }),
  );
});

describe("INIT", () => {
  const offer = { major: 7, minor: 45, maxReadaheadBytes: 131072, flags: -1, flags2: -1 };

  test("speaks the older minor version of the two, and asks only for what the kernel offers", () => {
    expect(negotiate({ ...offer, minor: 31, flags: 1 })).toMatchObject({ reply: { minor: 31, flags: 1, flags2: 0 } });
    expect(negotiate({ ...offer, minor: 60 })).toMatchObject({ reply: { minor: 45 } });
  });

  test("never asks for WRITEBACK_CACHE, READDIRPLUS_AUTO, locks or POSIX_ACL", () => {
    const negotiation = negotiate(offer);
    if (negotiation.outcome !== "agreed") throw new Error(negotiation.outcome);
    const { flags } = negotiation.reply;
    expect(flags & ((1 << 16) | (1 << 14) | (1 << 1) | (1 << 10) | (1 << 20))).toBe(0);
  });

  test("speaks every minor version from 23 on with the layouts of that version, and refuses what is older", () => {
    for (let minor = 23; minor <= 60; minor++) {
      const negotiation = negotiate({ ...offer, minor });
      if (negotiation.outcome !== "agreed") throw new Error(`7.${minor}: ${negotiation.outcome}`);
      expect(negotiation.reply.minor).toBe(Math.min(minor, 45));
      // The reply has 64 bytes from 7.23 on, whatever of them an older kernel knows.
      expect(encoded(64, (view, at) => putInit(view, at, 7, negotiation.reply))).toHaveLength(160);
    }
    // A kernel of 7.23 offers 17 flags and knows none of the later ones.
    const old = negotiate({ ...offer, minor: 23, flags: 0x1ffff, flags2: 0 });
    expect(old).toMatchObject({ reply: { minor: 23, flags: 0xa039, flags2: 0 } });
  });

  test("refuses a kernel that is too old and asks a newer major version again", () => {
    expect(negotiate({ ...offer, minor: 22 }).outcome).toBe("refused");
    expect(negotiate({ ...offer, major: 6 }).outcome).toBe("refused");
    expect(negotiate({ ...offer, major: 8 }).outcome).toBe("again");
  });
});
