import { expect, test } from "vitest";
import { requirePart } from "../../src/cli/restored-part.js";

const part = { path: "photos/old.raw", start: 0, end: 2 ** 20, isReadable: false };

test("a mount of an earlier casfs, which passes a range over, is asked for no whole file in its place", () => {
  expect(() => requirePart({ files: 1 } as never, true)).toThrow("this mount knows whole files only");
  expect(() => requirePart({ files: 0, part: null }, false)).not.toThrow(); // All of it is here.
});

test("a part that the mount would not read by itself has to be written to a file", () => {
  expect(() => requirePart({ files: 1, part }, false)).toThrow("Cannot restore a part of photos/old.raw for reading");
  expect(() => requirePart({ files: 1, part }, true)).not.toThrow();
  expect(() => requirePart({ files: 1, part: { ...part, isReadable: true } }, false)).not.toThrow();
});
