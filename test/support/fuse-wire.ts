/**
 * Requests and replies as the kernel's own C structures lay them out: `fixtures/fuse-wire.json` was printed by a C
 * program from `linux/fuse.h` (7.38; STATX and COPY_FILE_RANGE_64 from 7.39 and 7.45), so that these tests do not depend
 * on our reading of it.
 *
 * Each request has unique 0x8000001122334456 (resent: bit 63), node 0x1f00000000abc, uid 1001, gid 1002, pid 4321.
 */

import { readFileSync } from "node:fs";
import type { RequestBytes } from "../../src/fuse/kernel/wire-request.js";

interface Fixtures {
  readonly requests: Readonly<Record<string, string>>;
  readonly replies: Readonly<Record<string, string>>;
  readonly notifications: Readonly<Record<string, string>>;
}

const fixtures = JSON.parse(readFileSync(new URL("../fixtures/fuse-wire.json", import.meta.url), "utf8")) as Fixtures;

export const requestFixtureNames: readonly string[] = Object.keys(fixtures.requests);

export const fixtureNode = 0x1f00000000abc;

/** The bytes of a request, in a buffer that is larger and dirty behind them, as the device's is. */
export function requestFixture(name: string): RequestBytes {
  return requestBytes(Buffer.from(fixtures.requests[name]!, "hex"));
}

export function requestBytes(request: Buffer): RequestBytes {
  const bytes = Buffer.alloc(request.length + 64, 0xee);
  request.copy(bytes);
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), length: request.length };
}

/** A request of another kind made from the header of a fixture. */
export function madeRequest(opcode: number, unique: bigint, body: Buffer = Buffer.alloc(0)): RequestBytes {
  const header = Buffer.from(fixtures.requests.lookup!, "hex").subarray(0, 40);
  const request = Buffer.concat([header, body]);
  request.writeUInt32LE(request.length, 0);
  request.writeUInt32LE(opcode, 4);
  request.writeBigUInt64LE(unique, 8);
  return requestBytes(request);
}

export const replyFixture = (name: string): string => fixtures.replies[name]!;
export const notificationFixture = (name: string): string => fixtures.notifications[name]!;

/** What the replies of the fixtures say. */
export const fixtureAttributes = {
  ...{ ino: fixtureNode, mode: 0o100644, nlink: 3, uid: 1001, gid: 1002, rdev: 0 },
  ...{ sizeBytes: 0x280000000007, blocks: 0x1400000001 },
  atime: { seconds: 1_700_000_000, nanoseconds: 1 },
  mtime: { seconds: -312_840_000, nanoseconds: 123_456_789 },
  ctime: { seconds: 5_000_000_000, nanoseconds: 999_999_999 },
};
