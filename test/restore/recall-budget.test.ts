import { describe, expect, test } from "vitest";
import { byteCount, GIB } from "../../src/domain/bytes.js";
import { hours, type Instant, type Milliseconds, minutes } from "../../src/domain/time.js";
import { publishedPrices } from "../../src/protocol/prices.js";
import { periodText, RecallBudget, type RecallLimits, type RecallUseStore } from "../../src/restore/recall-budget.js";
import { type MinuteOfUse, UseWindow } from "../../src/restore/use-window.js";
import { fc } from "../support/seeded-fast-check.js";

const day = hours(24);
const start = Date.parse("2026-01-01T12:00:30Z") as Instant;

/** Sums as the catalog does. */
class MemoryStore implements RecallUseStore {
  readonly minutes = new Map<Instant, MinuteOfUse>();

  load = () => [...this.minutes.values()];

  add({ minute, bytes, cost, recalls }: MinuteOfUse): void {
    const had = this.minutes.get(minute) ?? { bytes: 0, cost: 0, recalls: 0 };
    const sum = { bytes: had.bytes + bytes, cost: had.cost + cost, recalls: had.recalls + recalls };
    this.minutes.set(minute, { minute, ...sum });
  }

  forgetBefore(minute: Instant): void {
    for (const known of this.minutes.keys()) if (known < minute) this.minutes.delete(known);
  }
}

class World {
  now = start;
  readonly store = new MemoryStore();
  budget!: RecallBudget;

  constructor(
    readonly limits: RecallLimits,
    readonly isFree = false,
  ) {
    this.restart();
  }

  restart(): void {
    const clock = { now: () => this.now };
    this.budget = new RecallBudget({
      limits: this.limits,
      prices: publishedPrices,
      isFree: this.isFree,
      store: this.store,
      clock,
    });
  }

  pass(duration: number): void {
    this.now = (this.now + duration) as Instant;
  }

  /** A recall that waits for its job. */
  reserve(gib: number) {
    return this.budget.take({ sizeBytes: byteCount(gib * GIB), tier: "standard", name: "photos/a" });
  }

  take(gib: number): void {
    this.reserve(gib).spend();
  }
}

const bytes = (gib: number, periodMs: Milliseconds = day): RecallLimits => ({
  bytes: { max: gib * GIB, periodMs },
  cost: null,
});

describe("a limit of bytes", () => {
  test("takes what fits exactly, and refuses the next byte", () => {
    const world = new World(bytes(10));
    world.take(4);
    world.take(6);
    expect(() => world.take(1 / GIB)).toThrow(
      expect.objectContaining({
        kind: "over-budget",
        message:
          "Cannot recall photos/a: 10GiB of --recall-limit 10GiB/day are used, and it takes 1B; there is room at 2026-01-02T12:01:00Z",
        hint: expect.stringContaining("casfs restore"),
      }),
    );
  });

  test("what is larger than the whole limit is refused with what to do, and uses nothing", () => {
    const world = new World(bytes(10));
    expect(() => world.take(11)).toThrow("its 11GiB are more than --recall-limit 10GiB/day ever allows");
    expect(world.budget.state("bytes")).toMatchObject({ used: 0, freesAt: null });
  });

  test("what was used is free again when its minute has left the window, and a refund at once", () => {
    const world = new World(bytes(10));
    const first = world.reserve(8);
    world.pass(hours(1));
    world.take(2);
    first.refund();
    first.refund();
    first.spend();
    expect(world.budget.state("bytes")).toMatchObject({ used: 2 * GIB, freesAt: Date.parse("2026-01-02T13:01:00Z") });
    world.pass(day);
    expect(world.budget.state("bytes")?.used).toBe(2 * GIB);
    world.pass(minutes(1));
    expect(world.budget.state("bytes")?.used).toBe(0);
  });

  test("a restart forgets nothing, not even what was taken back", () => {
    const world = new World(bytes(10));
    world.take(5);
    world.reserve(4).refund();
    world.restart();
    expect(world.budget.state("bytes")?.used).toBe(5 * GIB);
    expect(() => world.take(6)).toThrow("5GiB of --recall-limit 10GiB/day are used");
  });

  test("the period of a recall that is queued begins with its job", () => {
    const world = new World(bytes(10));
    const queued = world.reserve(8);
    world.pass(2 * day);
    expect(() => world.take(4)).toThrow("there is room when those that are queued have had their time");
    queued.spend();
    world.restart();
    expect(() => world.take(4)).toThrow("there is room at 2026-01-04T12:01:00Z");
    world.pass(day + minutes(1));
    world.take(4);
  });

  test("also when a restart came in between: what the earlier process took is not used before the job starts", () => {
    const world = new World(bytes(10));
    world.take(1);
    const { chargedAt } = world.reserve(8);
    world.pass(2 * day);
    world.restart();
    const queued = () =>
      world.budget.resume({ sizeBytes: byteCount(8 * GIB), tier: "standard", name: "photos/a" }, chargedAt);
    queued();
    expect(world.budget.state("bytes")?.used).toBe(8 * GIB);
    world.restart();
    queued().spend();
    world.pass(hours(23));
    world.restart();
    expect(world.budget.state("bytes")).toMatchObject({ used: 8 * GIB, freesAt: Date.parse("2026-01-04T12:01:00Z") });
    world.pass(hours(2));
    expect(world.budget.state("bytes")?.used).toBe(0);
  });

  test("what the earlier process took for a job that is not ordered after all is given back", () => {
    const world = new World(bytes(10));
    world.take(1);
    const { chargedAt } = world.reserve(8);
    world.restart();
    const request = { sizeBytes: byteCount(8 * GIB), tier: "standard", name: "photos/a" } as const;
    world.budget.resume(request, chargedAt).refund();
    expect(world.budget.state("bytes")?.used).toBe(GIB);
    world.restart();
    expect(world.budget.state("bytes")?.used).toBe(GIB);
  });

  test("a clock that was ahead, and was set right, holds nothing up for longer than the period", () => {
    const world = new World(bytes(10));
    world.pass(hours(24 * 365));
    world.take(10);
    world.now = start;
    world.restart();
    expect(() => world.take(1)).toThrow("are used");
    world.pass(day + minutes(1));
    world.take(10);
  });

  test("what is kept does not grow with the number of recalls", () => {
    const world = new World(bytes(1e6, hours(1)));
    for (let recall = 0; recall < 3000; recall += 1) {
      world.take(1);
      world.pass(minutes(30));
    }
    // 31 days of minutes in which something was recalled.
    expect(world.store.minutes.size).toBeLessThan(31 * 48 + 5);
  });
});

test("a limit of money counts what the retrieval costs; a service that costs nothing is not limited by it", () => {
  const limits = { bytes: null, cost: { max: 1, periodMs: day } };
  const world = new World(limits);
  world.take(16);
  expect(world.budget.state("cost")?.used).toBeCloseTo(0.96, 1);
  expect(() => world.take(2)).toThrow("0.97 CNY of --recall-cost-limit 1.00 CNY/day are used, and it takes 0.12 CNY");
  new World(limits, true).take(1000);
});

test("in no period, wherever it begins, is more recalled than the limit", () => {
  const recalls = fc.array(fc.record({ pauseMs: fc.nat({ max: 5_000_000 }), gib: fc.nat({ max: 6 }) }));
  fc.assert(
    fc.property(recalls, (steps) => {
      const world = new World(bytes(10, hours(2)));
      const taken: { readonly at: number; readonly gib: number }[] = [];
      for (const { pauseMs, gib } of steps) {
        world.pass(pauseMs);
        try {
          world.take(gib);
          taken.push({ at: world.now, gib });
        } catch {
          // Refused.
        }
      }
      for (const { at } of taken) {
        const within = taken.filter((one) => one.at >= at && one.at < at + hours(2));
        expect(within.reduce((sum, { gib }) => sum + gib, 0)).toBeLessThanOrEqual(10);
      }
    }),
  );
});

test("when there is room again is the first moment at which there is", () => {
  const window = new UseWindow();
  const cost = 0;
  window.add(start, { bytes: byteCount(3), cost });
  window.add((start + hours(1)) as Instant, { bytes: byteCount(4), cost });
  const now = (start + hours(2)) as Instant;
  expect(window.whenAtMost("bytes", 7, day, now)).toBeUndefined();
  const first = window.whenAtMost("bytes", 6, day, now)!;
  expect(window.used("bytes", day, (first - 1) as Instant)).toBe(7);
  expect(window.used("bytes", day, first)).toBe(4);
  expect(window.whenAtMost("bytes", 0, day, now)).toBe(first + hours(1));
});

test("periods are told as they are written", () => {
  expect([hours(1), day, hours(168), hours(720), hours(12)].map(periodText)).toEqual([
    "hour",
    "day",
    "week",
    "month",
    "12h",
  ]);
});
