import { expect, test } from "vitest";
import { matchesGlob } from "../../src/lib/glob.js";
import { fc } from "../support/seeded-fast-check.js";

test.each([
  ["", "", true],
  ["*", "", true],
  ["*", "anything", true],
  ["a*", "abc", true],
  ["a*c", "abc", true],
  ["a*c", "abcd", false],
  ["*b*", "abc", true],
  ["a?c", "abc", true],
  ["a?c", "ac", false],
  ["a", "ab", false],
  ["ab", "a", false],
  ["a.c", "abc", false],
  ["**", "x", true],
  ["*a*b", "aabab", true],
])("%s against %s is %s", (pattern, text, expected) => {
  expect(matchesGlob(pattern, text)).toBe(expected);
});

test("says the same as a regular expression for every short pattern and text", () => {
  const texts = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 8 });
  const patterns = fc.string({ unit: fc.constantFrom("a", "b", "*", "?"), maxLength: 6 });
  fc.assert(
    fc.property(patterns, texts, (pattern, text) => {
      const expression = new RegExp(`^${pattern.replaceAll("*", ".*").replaceAll("?", ".")}$`);
      expect(matchesGlob(pattern, text)).toBe(expression.test(text));
    }),
  );
});

test("a pattern of ten thousand stars takes no time", () => {
  const before = process.hrtime.bigint();
  expect(matchesGlob(`${"*a".repeat(5000)}b`, "a".repeat(300))).toBe(false);
  expect(matchesGlob("*a".repeat(10_000), "a".repeat(9999))).toBe(false);
  expect(Number(process.hrtime.bigint() - before) / 1e6).toBeLessThan(2000);
});
