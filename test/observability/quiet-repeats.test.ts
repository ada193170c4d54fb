import { expect, test } from "vitest";
import type { CasfsEvent } from "../../src/domain/events.js";
import type { ContentId } from "../../src/domain/ids.js";
import { ms } from "../../src/domain/time.js";
import { quietRepeats } from "../../src/observability/quiet-repeats.js";
import { FakeClock } from "../support/fake-clock.js";

const failed = (content: number, message: string): CasfsEvent => ({
  type: "upload-failed",
  content: content as ContentId,
  retryInMs: ms(1000),
  message,
});

function quiet() {
  const clock = new FakeClock();
  const lines: string[] = [];
  const observer = quietRepeats(
    (event) => void lines.push("message" in event ? (event.message ?? "") : event.type),
    clock,
  );
  return { clock, lines, observer };
}

test("ten thousand files that fail for one reason for an hour are seven lines, which say how many more", async () => {
  const { clock, lines, observer } = quiet();
  for (let minute = 0; minute <= 60; minute++) {
    for (let file = 0; file < 10_000; file++) observer(failed(file, `no vault for content ${file}`));
    await clock.advance(60_000);
  }
  expect(lines).toHaveLength(7);
  expect(lines[0]).toBe("no vault for content 0");
  expect(lines[1]).toMatch(/^no vault for content 0 \(99999 more like this in 10m\)$/);
});

test("another reason is said at once, and so is everything that is no failure", () => {
  const { lines, observer } = quiet();
  observer(failed(1, "connection reset"));
  observer(failed(1, "connection reset"));
  observer(failed(1, "access denied"));
  for (let count = 0; count < 3; count++) observer({ type: "mounted", mountpoint: "/mnt" });
  expect(lines).toEqual(["connection reset", "access denied", "mounted", "mounted", "mounted"]);
});

test("a clock that was set back by a year silences nothing", async () => {
  const { clock, lines, observer } = quiet();
  observer(failed(1, "connection reset"));
  await clock.advance(-365 * 86_400_000);
  observer(failed(1, "connection reset"));
  expect(lines).toHaveLength(2);
});
