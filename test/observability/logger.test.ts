import { describe, expect, test } from "vitest";
import type { CasfsEvent } from "../../src/domain/events.js";
import type { ArchiveId, ContentId, VaultName } from "../../src/domain/ids.js";
import type { Instant } from "../../src/domain/time.js";
import { type LogOptions, logObserver } from "../../src/observability/logger.js";

const clock = { now: () => Date.UTC(2024, 1, 3, 4, 5, 6) as Instant };

const confirmed: CasfsEvent = {
  type: "upload-confirmed",
  content: 7 as ContentId,
  archiveId: "a".repeat(128) as ArchiveId,
  sizeBytes: 16_777_216,
  durationMs: 2400,
};

function linesOf(events: readonly CasfsEvent[], options: Partial<LogOptions> = {}): string[] {
  const lines: string[] = [];
  const output = { write: (line: string) => lines.push(line) };
  const observe = logObserver({ level: "info", format: "json", clock, output, ...options });
  for (const event of events) observe(event);
  return lines;
}

test("an event becomes one JSON line with its time, level, kind, numbers and text", () => {
  const [line] = linesOf([confirmed]);
  expect(line?.endsWith("\n")).toBe(true);
  expect(JSON.parse(line!)).toEqual({
    level: "info",
    time: "2024-02-03T04:05:06.000Z",
    event: "upload-confirmed",
    content: 7,
    archiveId: "a".repeat(128),
    sizeBytes: 16_777_216,
    durationMs: 2400,
    msg: "archived content 7: 16MiB as aaaaaaaaaaaa… in 2.4s",
  });
});

test("on a terminal an event is one short line", () => {
  const [line] = linesOf([confirmed], { format: "pretty" });
  expect(line).toMatch(/^\d\d:05:06 info {2}archived content 7: 16MiB as aaaaaaaaaaaa… in 2\.4s\n$/);
});

test("a line end or an escape sequence in a message cannot forge a second line", () => {
  const [line] = linesOf([{ type: "warning", message: "first\nsecond \u001b[2J\u009b" }], { format: "pretty" });
  expect(line).toMatch(/warn {2}first\\x0asecond \\x1b\[2J\\x9b\n$/);
});

test("events below the chosen level are not written", () => {
  const call: CasfsEvent = { type: "service-call", operation: "listVaults", durationMs: 3, outcome: "ok" };
  const merged: CasfsEvent = { type: "inventory-merged", vault: "v" as VaultName, archives: 3, durationMs: 3 };
  const failed: CasfsEvent = { type: "inventory-failed", vault: "v" as VaultName, message: "no" };
  const written = (level: LogOptions["level"]) => linesOf([call, merged, failed], { level }).length;
  expect([written("debug"), written("info"), written("error"), written("silent")]).toEqual([3, 2, 1, 0]);
});

describe.each(["json", "pretty"] as const)("secrets in %s lines", (format) => {
  test.each([
    "refused: Authorization: q-sign-algorithm=sha1&q-ak=AK&q-signature=5ecre7",
    'refused: {"authorization":"5ecre7"}',
    "GET /-/vaults?q-signature=5ecre7",
    "wrong signKey=5ecre7 for secretKey: 5ecre7",
  ])("%j is written without them", (message) => {
    const [line] = linesOf([{ type: "warning", message }], { format });
    expect(line).not.toContain("5ecre7");
    expect(line).toContain("[removed]");
  });

  test("the key in use is removed wherever it appears", () => {
    const secret = 'k"e\\y';
    const [line] = linesOf([{ type: "warning", message: `odd ${secret} text` }], { format, secrets: [secret, ""] });
    expect(line).toContain("odd [removed] text");
  });
});
