import { expect, test } from "vitest";
import { nextMarker } from "../../src/protocol/next-marker.js";

test("a listing ends with null and goes on with every new marker", () => {
  expect(nextMarker({ marker: null }, "a")).toBeUndefined();
  expect(nextMarker({ marker: "b" }, "a")).toBe("b");
  expect(nextMarker({ marker: "a" }, undefined)).toBe("a");
});

test("a marker that comes again ends the listing, which would otherwise never end", () => {
  const red = "\u001b[31m";
  expect(() => nextMarker({ marker: red }, red)).toThrow("does not go on after the marker \\x1b[31m");
});
