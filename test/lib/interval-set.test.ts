import { expect, test } from "vitest";
import { IntervalSet } from "../../src/lib/interval-set.js";
import { fc } from "../support/seeded-fast-check.js";

const interval = fc.tuple(fc.nat(40), fc.nat(12)).map(([start, length]) => ({ start, end: start + length }));
const step = fc.oneof(
  interval.map((added) => ({ added })),
  fc.nat(50).map((cut) => ({ cut })),
  interval.map((removed) => ({ removed })),
);

test("is the set of the numbers that were added, and not cut or removed", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), interval, (steps, asked) => {
      const set = new IntervalSet();
      const model = new Set<number>();
      for (const each of steps) {
        if ("added" in each) {
          set.add(each.added);
          for (let number = each.added.start; number < each.added.end; number++) model.add(number);
        } else if ("removed" in each) {
          set.remove(each.removed);
          for (let number = each.removed.start; number < each.removed.end; number++) model.delete(number);
        } else {
          set.cut(each.cut);
          for (const number of model) if (number >= each.cut) model.delete(number);
        }
      }
      const members: number[] = [];
      let before = -1;
      for (const { start, end } of set) {
        expect(start, "disjoint, in order, and not touching").toBeGreaterThan(before);
        for (let number = start; number < end; number++) members.push(number);
        before = end;
      }
      expect(members).toEqual([...model].sort((a, b) => a - b));
      const numbers = Array.from({ length: asked.end - asked.start }, (_, index) => asked.start + index);
      expect(set.has(asked)).toBe(numbers.every((number) => model.has(number)));
      expect(set.touches(asked)).toBe(numbers.some((number) => model.has(number)));
    }),
  );
});

test("with a bound it may be too small, and never too large", () => {
  const set = new IntervalSet([], { countMax: 2 });
  for (const start of [0, 10, 20]) set.add({ start, end: start + 5 });
  expect([...set]).toEqual([
    { start: 0, end: 5 },
    { start: 10, end: 15 },
  ]);
  set.add({ start: 5, end: 10 });
  set.add({ start: 20, end: 25 });
  expect([...set]).toEqual([
    { start: 0, end: 15 },
    { start: 20, end: 25 },
  ]);
});
