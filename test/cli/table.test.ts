import { expect, test } from "vitest";
import { dateText, fieldLines, tableLines } from "../../src/cli/table.js";

test("columns are as wide as their widest cell, numbers stand right, the last column is not padded", () => {
  const columns = [{ title: "VAULT" }, { title: "SIZE", align: "right" as const }, { title: "NAME" }];
  const rows = [
    ["photos", "1GiB", "a"],
    ["b", "16.5MiB", ""],
  ];
  expect(tableLines(columns, rows)).toEqual(["VAULT      SIZE  NAME", "photos     1GiB  a", "b       16.5MiB"]);
});

test("the words of others cannot command the terminal", () => {
  expect(tableLines([{ title: "NAME" }], [["\u001b[2J"]])).toEqual(["NAME", "\\x1b[2J"]);
  expect(fieldLines([["name", "\u0007"]])).toEqual(["name: \\x07"]);
});

test("dates are ISO 8601 without fractions", () => {
  expect(dateText(new Date("2026-11-22T21:09:58.123Z"))).toBe("2026-11-22T21:09:58Z");
  expect(dateText(null)).toBe("-");
});
