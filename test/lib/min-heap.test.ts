import { expect, test } from "vitest";
import { MinHeap } from "../../src/lib/min-heap.js";
import { fc } from "../support/seeded-fast-check.js";

test("items come out smallest first, whatever order they went in", () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (numbers) => {
      const heap = new MinHeap<number>((value) => value);
      for (const value of numbers) heap.push(value);
      const out: number[] = [];
      for (let value = heap.pop(); value !== undefined; value = heap.pop()) out.push(value);
      expect(out).toEqual([...numbers].sort((a, b) => a - b));
      expect(heap.size).toBe(0);
    }),
  );
});

test("the smallest is always at hand while items come and go", () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.integer(), { nil: undefined })), (steps) => {
      const heap = new MinHeap<number>((value) => value);
      const model: number[] = [];
      for (const step of steps) {
        if (step === undefined) expect(heap.pop()).toBe(model.shift());
        else {
          heap.push(step);
          model.push(step);
          model.sort((a, b) => a - b);
        }
        expect(heap.peek()).toBe(model[0]);
      }
    }),
  );
});
