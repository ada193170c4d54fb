import { describe, expect, test } from "vitest";
import type { Instant } from "../../src/domain/time.js";
import { copyState, jobState } from "../../src/server/jobs/job-schedule.js";

const at = (value: number) => value as Instant;
const job = { readyAt: at(100), expiresAt: at(200), sourceLost: false };

describe("cas-api 11.5 Life of a job", () => {
  test("is in progress until its time has passed, then succeeded, then expired", () => {
    expect(jobState(job, at(99))).toEqual({ status: "in-progress" });
    expect(jobState(job, at(100))).toEqual({ status: "succeeded", completedAt: 100 });
    expect(jobState(job, at(199))).toEqual({ status: "succeeded", completedAt: 100 });
    expect(jobState(job, at(200))).toEqual({ status: "expired" });
  });

  test("fails at the same time when its bytes are gone, and expires like the others", () => {
    const lost = { ...job, sourceLost: true };
    expect(jobState(lost, at(99))).toEqual({ status: "in-progress" });
    expect(jobState(lost, at(100))).toEqual({ status: "failed", completedAt: 100 });
    expect(jobState(lost, at(200))).toEqual({ status: "expired" });
  });

  test("a job that takes no time is ready when it begins", () => {
    expect(jobState({ ...job, readyAt: at(50) }, at(50)).status).toBe("succeeded");
  });
});

test("a copy is in progress until it says that it has ended, however late; then its day begins", () => {
  const at = (moment: number, more: object = {}) =>
    copyState({ finishedAt: null, failed: false, expiresAt: 1000 as Instant, ...more }, moment as Instant);
  expect(at(5000)).toEqual({ status: "in-progress" });
  expect(at(999, { finishedAt: 500 })).toEqual({ status: "succeeded", completedAt: 500 });
  expect(at(999, { finishedAt: 500, failed: true })).toEqual({ status: "failed", completedAt: 500 });
  expect(at(1000, { finishedAt: 500 })).toEqual({ status: "expired" });
});
