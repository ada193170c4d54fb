import { expect, test } from "vitest";
import { meteredService } from "../../src/client/metered-service.js";
import { byteCount, byteRange, MIB } from "../../src/domain/bytes.js";
import { ServiceError } from "../../src/domain/errors.js";
import { vaultName } from "../../src/domain/ids.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { FakeClock } from "../support/fake-clock.js";
import { MemoryCasService } from "../support/memory-cas-service.js";
import { newArchive, testBytes } from "../support/test-bytes.js";

const vault = vaultName("photos");

test("every request is told as a read or a write, and what was done with its bytes", async () => {
  const memory = new MemoryCasService({ clock: new FakeClock({ autoAdvance: true }) });
  const requests = { read: 0, write: 0 };
  const done: unknown[] = [];
  const service = meteredService(memory, () => ({
    request: (kind) => {
      requests[kind] += 1;
    },
    done: (item, bytes) => void done.push([item, bytes]),
    orderedInventory: () => void done.push(["inventory"]),
    deleted: (_vault, archive) => void done.push(["delete", archive]),
  }));
  await service.createVault(vault);
  const small = await service.uploadArchive(vault, newArchive(Buffer.from("small")));
  const bytes = testBytes(MIB + 5, 1);
  const upload = await service.initiateMultipartUpload(vault, { partSizeBytes: byteCount(MIB), description: "" });
  for (const range of [byteRange(0, MIB), byteRange(MIB, MIB + 5)]) {
    const piece = bytes.subarray(range.start, range.end);
    await service.uploadPart(vault, upload, { ...newArchive(piece), range });
  }
  const { treeHash } = digestOf(bytes);
  await service.completeMultipartUpload(vault, upload, { sizeBytes: byteCount(bytes.length), treeHash });
  await service.initiateJob(vault, { action: "retrieve-inventory", format: "json" });
  const job = await service.initiateJob(vault, { action: "retrieve-archive", archiveId: small, tier: "bulk" });
  await service.describeJob(vault, job);
  const output = await service.getJobOutput(vault, job, byteRange(0, 2));
  for await (const _chunk of output.body);
  await service.deleteArchive(vault, small);

  expect(done).toEqual([
    ["upload", 5],
    ["part", MIB],
    ["part", 5],
    ["upload", MIB + 5],
    ["inventory"],
    ["download", 2],
    ["delete", small],
  ]);
  expect(requests).toEqual({ read: 2, write: 9 });
});

test("what fails is a request all the same, and nothing was done", async () => {
  const memory = new MemoryCasService({ clock: new FakeClock() });
  const told: string[] = [];
  const service = meteredService(memory, () => ({
    request: (kind) => void told.push(kind),
    done: (item) => void told.push(item),
    orderedInventory: () => void told.push("inventory"),
    deleted: () => void told.push("delete"),
  }));
  await service.createVault(vault);
  memory.fail({ operation: "uploadArchive", error: new ServiceError("unavailable", "busy") });
  await expect(service.uploadArchive(vault, newArchive(Buffer.from("x")))).rejects.toThrow("busy");
  expect(told).toEqual(["write", "write"]);
});

test("before anybody counts, calls go through", async () => {
  const memory = new MemoryCasService({ clock: new FakeClock() });
  await meteredService(memory, () => undefined).createVault(vault);
  expect(memory.calls.createVault).toBe(1);
});
