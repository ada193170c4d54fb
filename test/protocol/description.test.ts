import { describe, expect, test } from "vitest";
import {
  type FileDescription,
  formatDescription,
  parseDescription,
  segmentBytesMax,
} from "../../src/protocol/description.js";
import { fc } from "../support/seeded-fast-check.js";

const example: FileDescription = {
  segments: ["photos", "2019", "a b.jpg"],
  mode: 0o644,
  mtime: { seconds: 1_699_999_999, nanoseconds: 123_456_789 },
  uid: 1000,
  gid: 1000,
  fileId: "f1",
  version: 3,
  writer: "w1",
  provisional: false,
};

const segment = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 40 })
  .map((text) => text.replace(/[/\0]|\p{Surrogate}/gu, "_"))
  .filter((text) => text !== "." && text !== ".." && Buffer.byteLength(text) <= segmentBytesMax);
const token = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);
const file: fc.Arbitrary<FileDescription> = fc.record({
  segments: fc.array(segment, { minLength: 1, maxLength: 30 }),
  mode: fc.integer({ min: 0, max: 0o7777 }),
  mtime: fc.record({ seconds: fc.maxSafeInteger().map((value) => value || 0), nanoseconds: fc.nat(999_999_999) }),
  uid: fc.nat(0xffffffff),
  gid: fc.nat(0xffffffff),
  fileId: token,
  version: fc.maxSafeNat(),
  writer: token,
  provisional: fc.boolean(),
});

describe("a description of ours", () => {
  test("reads like the design says", () => {
    expect(formatDescription(example)).toBe(
      "casfs/1 photos/2019/a%20b.jpg?mode=644&mtime=1699999999.123456789&uid=1000&gid=1000&id=f1&v=3&w=w1",
    );
  });

  test("is at most 1024 bytes of printable ASCII and reads back as it was, or cut on its left and marked so", () => {
    fc.assert(
      fc.property(file, (described) => {
        const text = formatDescription(described);
        expect(text).toMatch(/^[!-~]+ [!-~]{1,1020}$/);
        expect(text.length).toBeLessThanOrEqual(1024);
        const parsed = parseDescription(text);
        if (parsed.kind !== "casfs") throw new Error(`read as ${JSON.stringify(parsed)}`);
        const { kind: _, cut, others, segments, ...attributes } = parsed;
        expect({ ...attributes, segments: described.segments }).toEqual(described);
        expect(others).toEqual([]);
        expect(segments).toEqual(described.segments.slice(-segments.length));
        expect(cut).toBe(segments.length < described.segments.length);
      }),
      { numRuns: 300 },
    );
  });

  test("the longest possible one still fits", () => {
    const name = "归".repeat(85);
    const longest: FileDescription = {
      segments: [name, name, name],
      mode: 0o7777,
      mtime: { seconds: Number.MIN_SAFE_INTEGER, nanoseconds: 999_999_999 },
      uid: 0xffffffff,
      gid: 0xffffffff,
      fileId: "f".repeat(64),
      version: Number.MAX_SAFE_INTEGER,
      writer: "w".repeat(64),
      provisional: true,
    };
    expect(parseDescription(formatDescription(longest))).toEqual({
      kind: "casfs",
      ...longest,
      segments: [name],
      cut: true,
      others: [],
    });
  });

  test("unknown parameters are kept and can be carried on", () => {
    const text = formatDescription(example, { others: [["tag", "a&b=c"]] });
    expect(parseDescription(text)).toMatchObject({ kind: "casfs", others: [["tag", "a&b=c"]] });
    const huge = formatDescription(example, { others: [["tag", "x".repeat(2000)]] });
    expect(huge).toBe(formatDescription(example));
  });

  test.each([
    ["of a later format", "casfs/2 whatever"],
    ["with a parameter that changes the meaning of the bytes", `${formatDescription(example)}&x-pack=zstd`],
    ["with a malformed number", formatDescription(example).replace("v=3", "v=three")],
    ["with a parameter missing", formatDescription(example).replace("&w=w1", "")],
    ["with a parameter twice", `${formatDescription(example)}&v=4`],
    ["with a broken escape", formatDescription(example).replace("%20", "%zz")],
    ["that climbs out of the vault", formatDescription(example).replace("2019", "..")],
    ["with a slash hidden in a name", formatDescription(example).replace("%20", "%2F")],
    ["with a NUL", formatDescription(example).replace("%20", "%00")],
    ["with an absolute path", formatDescription(example).replace("photos", "/photos")],
    ["without parameters", "casfs/1 photos/a.jpg"],
    ["of format 1 with nothing", "casfs/1"],
  ])("one %s is unreadable, never wrongly read", (_, text) => {
    expect(parseDescription(text).kind).toBe("unreadable");
  });
});

describe("a foreign description", () => {
  test.each([
    ["/home/anna/pictures/a.jpg", ["home", "anna", "pictures", "a.jpg"]],
    ["../../etc/passwd", ["etc", "passwd"]],
    ["a//./b/../c", ["a", "b", "c"]],
    ["holiday.zip", ["holiday.zip"]],
    ["my holiday.tar.gz", ["my holiday.tar.gz"]],
    ["two\nlines/x\u0000y", ["twolines", "xy"]],
    ["归档/é.txt", ["归档", "é.txt"]],
    ["casfs/readme.txt", ["casfs", "readme.txt"]],
    [`dir/${"x".repeat(300)}`, ["dir", "x".repeat(255)]],
  ])("%j becomes the path %j", (text, segments) => {
    expect(parseDescription(text)).toEqual({ kind: "path", segments });
  });

  test.each(["", "   ", "..", "/", "the backup of last monday", '{"a":"b/c"}', "<m><v>4</v></m>", "s3://bucket/key"])(
    "%j is no path",
    (text) => expect(parseDescription(text)).toEqual({ kind: "none" }),
  );
});

test("whatever a description says, no segment can escape its directory", () => {
  const hostile = fc.oneof(
    fc.string({ unit: "binary", maxLength: 1200 }),
    fc
      .array(
        fc.constantFrom("..", ".", "/", "%2F", "%2e%2e", "\0", "%00", "a", "casfs/1 ", "?", "&cut=1", "\ud800", "归"),
      )
      .map((parts) => parts.join("")),
    fc.tuple(fc.string(), fc.string()).map(([path, parameters]) => `casfs/1 ${path}?${parameters}`),
    fc.string().map((path) => formatDescription(example).replace("photos/2019/a%20b.jpg", () => path)),
  );
  fc.assert(
    fc.property(hostile, (text) => {
      const parsed = parseDescription(text);
      const segments = parsed.kind === "casfs" || parsed.kind === "path" ? parsed.segments : [];
      for (const name of segments) {
        expect(["", ".", ".."]).not.toContain(name);
        expect(name).not.toMatch(/[/\0]/);
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
        expect(Buffer.from(name, "utf8").toString("utf8")).toBe(name);
      }
    }),
    { numRuns: 1000 },
  );
});
