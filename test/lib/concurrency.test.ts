import { expect, test } from "vitest";
import { forEachConcurrently } from "../../src/lib/concurrency.js";

test("none at a time is refused: everything would be left undone, and look as if it were done", async () => {
  for (const concurrency of [0, -1, Number.NaN]) {
    const work = async () => expect.fail("must not run");
    await expect(forEachConcurrently([1], { concurrency }, work)).rejects.toThrow(RangeError);
  }
});
