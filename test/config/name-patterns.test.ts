import { expect, test } from "vitest";
import { mountShape } from "../../src/config/config.js";
import { parseNamePatterns } from "../../src/config/name-patterns.js";

const shipped = mountShape.temporary.parse(undefined);

test.each([
  [[".photo.jpg.Ab3_xY"]],
  [["album", ".~tmp~", "photo.jpg"]],
  [["film.mkv.part"]],
  [[".notes.txt.swp"]],
  [[".nfs000001a"]],
])("%j is a name that its program will change", (path) => expect(shipped(path)).toBe(true));

test.each([[["photo.jpg"]], [[".bashrc"]], [["part"]], [["x.part", "photo.jpg"]], [[".config"]], [[]]])(
  "%j is an ordinary name",
  (path) => expect(shipped(path)).toBe(false),
);

test("`none` and the empty text are about no file", () => {
  expect(parseNamePatterns("none")(["a.part"])).toBe(false);
  expect(parseNamePatterns("")(["a.part"])).toBe(false);
});

test("braces and exclamation marks are ordinary characters", () => {
  const matches = parseNamePatterns("!*.part,{a,*.new");
  expect(matches(["b.txt"])).toBe(false);
  expect(matches(["!b.part"])).toBe(true);
  expect(matches(["{a"])).toBe(true);
});

test.each(["a/b", "/", "x".repeat(300)])("%j is refused", (text) =>
  expect(() => parseNamePatterns(text)).toThrow(RangeError),
);
