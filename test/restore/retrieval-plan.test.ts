import { expect, test } from "vitest";
import { type ByteRange, byteCount, byteRange, MIB } from "../../src/domain/bytes.js";
import { type ArchiveKey, archiveId, jobId, vaultName } from "../../src/domain/ids.js";
import type { Instant } from "../../src/domain/time.js";
import type { TreeHashHex } from "../../src/protocol/service.js";
import { nextRestoreState, type RestoreEvent, type RestoreState } from "../../src/restore/restore-state.js";
import { type ArchiveJob, jobToJoin, piecesOf } from "../../src/restore/retrieval-plan.js";
import { fc } from "../support/seeded-fast-check.js";

const size = 3 * MIB;
const treeHash = "0".repeat(64) as TreeHashHex;
const archive = {
  key: 1 as ArchiveKey,
  vault: vaultName("photos"),
  id: archiveId("wanted"),
  sizeBytes: byteCount(size),
  treeHash,
};

function job(id: string, changes: Partial<ArchiveJob> = {}): ArchiveJob {
  return {
    id: jobId(id),
    status: "in-progress",
    statusMessage: "",
    description: "",
    createdAt: 1000 as Instant,
    completedAt: null,
    action: "retrieve-archive",
    archiveId: archive.id,
    archiveSizeBytes: archive.sizeBytes,
    archiveTreeHash: treeHash,
    range: byteRange(0, size),
    rangeTreeHash: null,
    tier: "standard",
    ...changes,
  };
}

test("only running and finished retrievals of the whole archive are joined", () => {
  const others = [
    job("failed", { status: "failed" }),
    job("part", { range: byteRange(0, MIB) }),
    job("other", { archiveId: archiveId("other") }),
  ];
  expect(jobToJoin(others, archive)).toBeUndefined();
  expect(jobToJoin([...others, job("right")], archive)?.id).toBe("right");
});

test("of several, the one that is ready first is joined", () => {
  const slow = job("slow", { tier: "bulk" });
  const running = job("running");
  const older = job("older", { createdAt: 500 as Instant });
  const expiring = job("expiring", { status: "succeeded", completedAt: 10 as Instant });
  const fresh = job("fresh", { status: "succeeded", completedAt: 20 as Instant });
  expect(jobToJoin([slow, running], archive)?.id).toBe("running");
  expect(jobToJoin([running, older], archive)?.id).toBe("older");
  expect(jobToJoin([running, expiring, fresh, slow], archive)?.id).toBe("fresh");
});

test("pieces cover what is missing, nothing else, and end at multiples of the piece size", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 500 }), { maxLength: 12 }),
      fc.integer({ min: 1, max: 64 }),
      (cuts, pieceBytes) => {
        const sorted = [...new Set(cuts)].sort((a, b) => a - b);
        const missing: ByteRange[] = [];
        for (let index = 0; index + 1 < sorted.length; index += 2)
          missing.push(byteRange(sorted[index]!, sorted[index + 1]!));
        const pieces = [...piecesOf(missing, pieceBytes)];
        const bytesOf = (ranges: readonly ByteRange[]) =>
          ranges.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i));
        expect(bytesOf(pieces)).toEqual(bytesOf(missing));
        for (const { start, end } of pieces) {
          expect(Math.floor(start / pieceBytes)).toBe(Math.floor((end - 1) / pieceBytes));
        }
      },
    ),
  );
});

test("a recall ends landed or failed, and nothing lands that was not verified", () => {
  const follow = (...events: RestoreEvent[]) =>
    events.reduce<RestoreState>((state, event) => nextRestoreState(state, event), "requesting");
  expect(follow("job-known", "job-succeeded", "verified")).toBe("landed");
  expect(follow("job-known", "job-gone", "job-known", "job-succeeded", "gave-up")).toBe("failed");
  expect(() => follow("job-known", "verified")).toThrow("invariant");
  expect(() => follow("gave-up", "job-known")).toThrow("invariant");
});
