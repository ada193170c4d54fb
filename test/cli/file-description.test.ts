import { expect, test } from "vitest";
import { describeFile } from "../../src/cli/archive/file-description.js";
import { parseDescription } from "../../src/protocol/description.js";
import { fc } from "../support/seeded-fast-check.js";

test("a plain name is its own description", () => {
  for (const name of ["a.jpg", "holiday pictures.tar", "README", "-odd", "100%.txt"])
    expect(describeFile(name)).toBe(name);
});

test("what a mount would not show as a file is escaped", () => {
  expect(describeFile("two words")).toBe("two%20words");
  expect(describeFile("süß.txt")).toBe("s%C3%BC%C3%9F.txt");
  expect(describeFile("{json}")).toBe("%7Bjson%7D");
});

test("every name becomes printable ASCII that a mount shows as one file", () => {
  const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }).filter((text) => !/[/\0]/.test(text));
  fc.assert(
    fc.property(name, (text) => {
      fc.pre(text !== "." && text !== "..");
      const description = describeFile(text);
      expect(description).toMatch(/^[\x20-\x7e]{1,1024}$/);
      expect(parseDescription(description)).toMatchObject({ kind: "path", segments: [description] });
    }),
  );
});
