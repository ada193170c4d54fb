import { expect, test } from "vitest";
import type { RestoreProgress } from "../../src/app/control-api.js";
import { restoreProgressLine } from "../../src/cli/restore-progress.js";

const now = Date.UTC(2026, 0, 1);
const progress: RestoreProgress = {
  files: 1000,
  bytes: 4 * 2 ** 30,
  landed: 312,
  landedBytes: 2 ** 30,
  failed: 0,
  queued: 568,
  ordered: 120,
  landing: 0,
  expectedAt: null,
};

test("the line says files, bytes and what the others wait for", () => {
  expect(restoreProgressLine([progress], now)).toBe("312 of 1000 files, 1GiB of 4GiB, 120 ordered, 568 queued");
});

test("when all is ordered it says when the last is here", () => {
  const expectedAt = new Date(now + 3 * 3_600_000).toISOString();
  expect(restoreProgressLine([{ ...progress, queued: 0, landing: 2, expectedAt }], now)).toBe(
    "312 of 1000 files, 1GiB of 4GiB, 120 ordered, 2 landing, ready in about 3h",
  );
});

test("several mounts add up", () => {
  expect(restoreProgressLine([progress, progress], now)).toContain("624 of 2000 files, 2GiB of 8GiB");
});
