import { describe, expect, test } from "vitest";
import type { RecallReport, StatusReport, UploadReport } from "../../src/app/control-api.js";
import { statusLines } from "../../src/cli/status-text.js";

const now = Date.parse("2026-01-01T12:00:00Z");

const quiet: StatusReport = {
  mountpoint: "/mnt/cold",
  pid: 42,
  stateDirectory: "/var/lib/casfs",
  service: { endpoint: "http://cas.example", local: false, dataDirectory: null },
  startedAt: "2026-01-01T11:00:00Z",
  staged: { files: 0, bytes: 0, usedBytes: 0, limitBytes: null, room: "roomy" },
  uploads: [],
  recalls: [],
  failedRecalls: [],
  waiting: [],
  recallBudget: {
    bytes: { used: 0, limit: 10 * 2 ** 30, periodMs: 86_400_000, freesAt: null },
    cost: null,
    currency: "CNY",
    refused: { overBudget: 0, denied: 0, recent: [] },
  },
  cache: { files: 2, bytes: 2 ** 20, limitBytes: 10 * 2 ** 30, pinned: 1, partialFiles: 0, partialBytes: 0 },
  vaults: [
    {
      name: "photos",
      visible: true,
      inventory: "merged",
      inventoryAt: "2026-01-01T09:00:00Z",
      readOnly: null,
      gone: false,
    },
  ],
  deletes: { pending: 0, lastError: null },
  trash: { files: 0, bytes: 0, nextPurgeAt: null },
  missing: { files: 0, paths: [] },
  suspects: [],
};

const upload: UploadReport = {
  path: "photos/big.raw",
  state: "sending",
  sizeBytes: 208 * 2 ** 20,
  sentBytes: 52 * 2 ** 20,
  parts: 13,
  partsSent: 3,
  attempts: 1,
  lastError: null,
  nextAttemptAt: null,
};

const recall: RecallReport = {
  path: "photos/old.raw",
  archiveId: "abc",
  jobId: "job",
  tier: "standard",
  state: "retrieving",
  lastError: null,
  nextAttemptAt: null,
  origin: "open",
  heldBy: null,
  range: null,
  sizeBytes: 2 ** 20,
  landedBytes: 0,
  startedAt: "2026-01-01T11:00:00Z",
  expectedAt: "2026-01-01T15:30:00Z",
};

test("a quiet mount is told in a few lines", () => {
  expect(statusLines(quiet, now)).toEqual([
    "/mnt/cold  process 42, mounted 1h ago",
    "  archives  http://cas.example",
    "  state     /var/lib/casfs",
    "  staged    nothing waiting to be archived",
    "  cache     2 files, 1MiB of 10GiB, 1 pinned",
    "  budget    0B of 10GiB per day recalled by opens",
    "  vaults    photos, inventory of 3h ago",
  ]);
});

describe("problems stand before everything else", () => {
  test.each<[string, Partial<StatusReport>]>([
    [
      "photos/big.raw: its upload failed (2 attempts): connection reset; again in 30s",
      { uploads: [{ ...upload, attempts: 2, lastError: "connection reset", nextAttemptAt: "2026-01-01T12:00:30Z" }] },
    ],
    [
      "photos/big.raw and 2 other files: their uploads failed: connection reset; again in 5s",
      {
        uploads: ["40", "05", "30"].map((second, index) => ({
          ...upload,
          path: index === 0 ? upload.path : `photos/${second}`,
          lastError: "connection reset",
          nextAttemptAt: `2026-01-01T12:00:${second}Z`,
        })),
      },
    ],
    ["photos/a: interrupted", { suspects: [{ path: "photos/a", reason: "interrupted" }] }],
    [
      "photos: its inventory failed: no permission",
      {
        vaults: [
          {
            name: "photos",
            visible: false,
            inventory: "no permission",
            inventoryAt: null,
            readOnly: null,
            gone: false,
          },
        ],
      },
    ],
    [
      "photos: the service has no such vault any more; what is staged is kept, and `casfs vault create photos` lets its uploads go on",
      { vaults: [{ ...quiet.vaults[0]!, gone: true }] },
    ],
    [
      "not in the vault any more, though the service had confirmed it: photos/a, photos/b, photos/c and 9 more",
      { missing: { files: 12, paths: ["photos/a", "photos/b", "photos/c", "photos/d"] } },
    ],
    [
      "Vault photos is read-only: another writes to it",
      { vaults: [{ ...quiet.vaults[0]!, readOnly: "Vault photos is read-only: another writes to it" }] },
    ],
    [
      "writers get ENOSPC: staging is full, and no upload makes progress",
      { staged: { files: 1, bytes: 1, usedBytes: 1, limitBytes: 1, room: "stalled" } },
    ],
    ["archives could not be deleted in the vault: busy", { deletes: { pending: 1, lastError: "busy" } }],
  ])("%s", (problem, part) => {
    expect(statusLines({ ...quiet, ...part }, now)[1]).toBe(`  ! ${problem}`);
  });
});

test("an upload shows how far it is", () => {
  expect(statusLines({ ...quiet, uploads: [upload] }, now)).toContain(
    "  uploads   photos/big.raw  25% of 208MiB, 3 of 13 parts, sending",
  );
});

test("a recall shows when it is expected, and who waits for it since when", () => {
  const since = "2026-01-01T11:58:00Z";
  const waiting = { pid: 7, command: "cat old.raw", path: "photos/old.raw", since, for: "recall" as const, recall };
  const lines = statusLines({ ...quiet, recalls: [recall], waiting: [waiting] }, now);
  expect(lines).toContain("  recalls   photos/old.raw  1MiB, standard, retrieving, ready in about 3h30m");
  expect(lines).toContain(
    "  waiting   process 7 (cat old.raw) waits for photos/old.raw since 2m: standard, retrieving, job job…, ready in about 3h30m",
  );
});

test("recalls that cannot go on, and recalls that failed, are told with the reason, when, and what happens next", () => {
  const troubled = { ...recall, lastError: "no answer", nextAttemptAt: "2026-01-01T12:00:30Z" };
  const other = { ...troubled, path: "photos/b", nextAttemptAt: null };
  const failed = { path: "photos/c", archiveId: "c", jobId: "j", tier: "bulk" as const };
  const failures = Array.from({ length: 8 }, (_, number) => {
    return { ...failed, failedAt: "2026-01-01T10:00:00Z", reason: `job ${number} failed` };
  });
  const lines = statusLines({ ...quiet, recalls: [troubled, other], failedRecalls: failures }, now);
  expect(lines.filter((line) => line.startsWith("  ! "))).toEqual([
    "  ! photos/old.raw and 1 other file: their recalls cannot go on: no answer; again in 30s",
    ...[0, 1, 2, 3, 4].map(
      (number) => `  ! photos/c: its recall failed 2h ago (bulk): job ${number} failed; the next open asks again`,
    ),
    "  ! 3 more recalls failed: --json has them all",
  ]);
});

test("a mount that an earlier casfs has begun tells less, and is shown all the same", () => {
  const { failedRecalls: _, ...earlier } = quiet;
  const { lastError: _error, nextAttemptAt: _at, range: _range, ...running } = recall;
  const { partialFiles: _files, partialBytes: _bytes, ...cache } = quiet.cache;
  const lines = statusLines({ ...earlier, cache, recalls: [running] } as never, now);
  expect(lines.filter((line) => line.startsWith("  ! "))).toEqual([]);
  expect(lines).toContain("  recalls   photos/old.raw  1MiB, standard, retrieving, ready in about 3h30m");
  expect(lines).toContain("  cache     2 files, 1MiB of 10GiB, 1 pinned");
});

test("what opens have recalled of what they may, and what was refused, is told", () => {
  const refusal = {
    at: "2026-01-01T11:59:00Z",
    pid: 9,
    command: "updatedb",
    path: "photos/a",
    sizeBytes: 2 ** 20,
    reason: "denied" as const,
    message: "updatedb may recall nothing",
    count: 4000,
  };
  const bytes = { used: 2 ** 30, limit: 10 * 2 ** 30, periodMs: 86_400_000, freesAt: "2026-01-01T14:00:00Z" };
  const cost = { used: 0.06, limit: 5, periodMs: 12 * 3_600_000, freesAt: null };
  const refused = { overBudget: 0, denied: 4000, recent: [refusal] };
  const lines = statusLines({ ...quiet, recallBudget: { bytes, cost, currency: "CNY", refused } }, now);
  const at = lines.indexOf("  budget    1GiB of 10GiB per day recalled by opens, some of it free again in 2h");
  expect(lines.slice(at + 1, at + 3)).toEqual([
    "            0.06 CNY of 5.00 CNY per 12h recalled by opens",
    "            refused to process 9 (updatedb), --recall-deny: photos/a, 1MiB, 1m ago, 4000 times in all",
  ]);
});

test("a recall that is queued says for what", () => {
  const queued = { ...recall, state: "queued", heldBy: "line" as const, expectedAt: null };
  expect(statusLines({ ...quiet, recalls: [queued] }, now)).toContain(
    "  recalls   photos/old.raw  1MiB, standard, queued until others are fetched",
  );
});

test("what staging takes of its limit is shown, and who waits for room", () => {
  const staged = { files: 2, bytes: 2 ** 34, usedBytes: 2 ** 33, limitBytes: 2 ** 33, room: "waiting" as const };
  const since = "2026-01-01T11:59:50Z";
  const waiting = { pid: 8, command: "dd of=a", path: "photos/a", since, for: "room" as const, recall: null };
  const lines = statusLines({ ...quiet, staged, waiting: [waiting] }, now);
  expect(lines).toContain("  staged    2 files, 16GiB waiting to be archived, 8GiB of 8GiB");
  expect(lines).toContain("  waiting   process 8 (dd of=a) waits for room to write photos/a since 10s");
});

test("a local service takes as long as it was told to, so nothing is expected of it", () => {
  const service = { endpoint: "http://127.0.0.1:1", local: true, dataDirectory: "/data" };
  const lines = statusLines({ ...quiet, service, recalls: [recall] }, now);
  expect(lines).toContain("  recalls   photos/old.raw  1MiB, standard, retrieving");
  expect(lines).toContain("  archives  on this machine only, in /data");
});

test("long lists are cut and say by how much", () => {
  const uploads = Array.from({ length: 25 }, (_, index) => ({ ...upload, path: `photos/${index}` }));
  const lines = statusLines({ ...quiet, uploads }, now);
  expect(lines).toContain("            and 5 more");
  expect(lines.some((line) => line.includes("photos/20"))).toBe(false);
});

test("the trash says when something in it goes for good", () => {
  const trash = { files: 3, bytes: 2 ** 20, nextPurgeAt: "2026-01-31T12:00:00Z" };
  expect(statusLines({ ...quiet, trash }, now)).toContain(
    "  trash     3 files, 1MiB, the next is deleted for good in 30d",
  );
});
