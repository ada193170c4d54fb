import { describe, expect, test } from "vitest";
import { retryingService } from "../../src/client/retrying-service.js";
import { byteCount, byteRange, MIB } from "../../src/domain/bytes.js";
import { type FaultEffect, ServiceError, type ServiceFault } from "../../src/domain/errors.js";
import type { CasfsEvent } from "../../src/domain/events.js";
import { vaultName } from "../../src/domain/ids.js";
import { FakeClock, settled } from "../support/fake-clock.js";
import { type CasOperation, MemoryCasService } from "../support/memory-cas-service.js";
import { newArchive, testBytes } from "../support/test-bytes.js";

const vault = vaultName("v");

async function start({ autoAdvance = true } = {}) {
  const clock = new FakeClock({ autoAdvance });
  const memory = new MemoryCasService({ clock });
  await memory.createVault(vault);
  const archive = await memory.uploadArchive(vault, newArchive(testBytes(10)));
  const bytes = newArchive(testBytes(MIB));
  const begin = () => memory.initiateMultipartUpload(vault, { partSizeBytes: byteCount(MIB), description: "" });
  const part = { ...bytes, range: byteRange(0, MIB) };
  const full = await begin();
  await memory.uploadPart(vault, full, part);
  const [upload, doomed] = [await begin(), await begin()];
  const job = await memory.initiateJob(vault, { action: "retrieve-archive", archiveId: archive, tier: "standard" });
  const events: CasfsEvent[] = [];
  const observer = (event: CasfsEvent) => void events.push(event);
  const service = retryingService(memory, { clock, random: () => 0.5, observer });
  const empty = vaultName("empty");
  await memory.createVault(empty);
  const completion = { sizeBytes: bytes.sizeBytes, treeHash: bytes.treeHash };
  const calls: Record<CasOperation, () => Promise<unknown>> = {
    createVault: () => service.createVault(vault),
    describeVault: () => service.describeVault(vault),
    deleteVault: () => service.deleteVault(empty),
    vaultCallback: () => service.vaultCallback(vault),
    setVaultCallback: () => service.setVaultCallback(vault, "http://127.0.0.1/"),
    listVaults: () => service.listVaults(),
    uploadArchive: () => service.uploadArchive(vault, bytes),
    deleteArchive: () => service.deleteArchive(vault, archive),
    initiateMultipartUpload: () =>
      service.initiateMultipartUpload(vault, { partSizeBytes: byteCount(MIB), description: "" }),
    uploadPart: () => service.uploadPart(vault, upload, part),
    completeMultipartUpload: () => service.completeMultipartUpload(vault, full, completion),
    abortMultipartUpload: () => service.abortMultipartUpload(vault, doomed),
    listParts: () => service.listParts(vault, upload),
    listMultipartUploads: () => service.listMultipartUploads(vault),
    initiateJob: () => service.initiateJob(vault, { action: "retrieve-archive", archiveId: archive, tier: "standard" }),
    describeJob: () => service.describeJob(vault, job),
    listJobs: () => service.listJobs(vault),
    getJobOutput: () => service.getJobOutput(vault, job, undefined),
  };
  const count = (operation: CasOperation) => memory.calls[operation];
  return { clock, memory, service, calls, events, count };
}

const fault = (kind: ServiceFault, effect?: FaultEffect) => new ServiceError(kind, `scripted ${kind}`, { effect });
const operations = Object.keys(new MemoryCasService({ clock: new FakeClock() }).calls) as CasOperation[];
/** What must never be done twice without knowing. */
const onceOnly: readonly CasOperation[] = ["uploadArchive", "initiateJob"];

describe("a passing failure that is known to have done nothing", () => {
  test.each(operations)("of %s is repeated until it succeeds", async (operation) => {
    for (const kind of ["throttled", "unavailable", "digest"] as const) {
      const { memory, calls, count } = await start();
      memory.fail({ operation, error: fault(kind), times: 2 });
      const before = count(operation);
      await calls[operation]();
      expect(count(operation) - before).toBe(3);
      memory.expectAllFaultsHit();
    }
  });

  test.each(operations)("of %s is repeated when the service was not reached", async (operation) => {
    const { memory, calls } = await start();
    memory.fail({ operation, error: fault("connection", "none") });
    await calls[operation]();
    memory.expectAllFaultsHit();
  });
});

describe("a lost answer", () => {
  const repeatable = operations.filter((operation) => !onceOnly.includes(operation));

  test.each(repeatable)("to %s, which had its effect, ends in success", async (operation) => {
    const { memory, calls } = await start();
    memory.fail({ operation, error: fault("timeout"), when: "after" });
    await calls[operation]();
    memory.expectAllFaultsHit();
  });

  test.each(onceOnly)("to %s is never followed by a second call", async (operation) => {
    for (const kind of ["timeout", "connection"] as const) {
      const { memory, calls, count } = await start();
      const before = count(operation);
      memory.fail({ operation, error: fault(kind), when: "after" });
      await expect(calls[operation]()).rejects.toMatchObject({ fault: kind });
      expect(count(operation) - before).toBe(1);
    }
    const { memory, calls, count } = await start();
    const before = count(operation);
    memory.fail({ operation, error: fault("unavailable", "unknown") });
    await expect(calls[operation]()).rejects.toMatchObject({ fault: "unavailable" });
    expect(count(operation) - before).toBe(1);
  });

  test("of a vault that then is missing was a success only if it may have been", async () => {
    const { service } = await start();
    await expect(service.deleteVault(vaultName("never"))).rejects.toMatchObject({ fault: "missing" });
  });
});

test.each(["missing", "denied", "refused"] as const)("a %s call is not repeated", async (kind) => {
  const { memory, calls, count } = await start();
  memory.fail({ operation: "describeVault", error: fault(kind) });
  await expect(calls.describeVault()).rejects.toMatchObject({ fault: kind });
  expect(count("describeVault")).toBe(1);
});

test("an expired signature is made again once, at once", async () => {
  const { memory, calls, count, events } = await start();
  memory.fail({ operation: "initiateJob", error: fault("expired") });
  const before = count("initiateJob");
  await calls.initiateJob();
  expect(count("initiateJob") - before).toBe(2);
  expect(events).toMatchObject([{ type: "service-retry", delayMs: 0 }]);
  memory.fail({ operation: "describeJob", error: fault("expired"), times: 2 });
  await expect(calls.describeJob()).rejects.toMatchObject({ fault: "expired" });
});

test("pauses grow, are reported, and end with the last attempt's failure", async () => {
  const { memory, calls, events, count } = await start();
  memory.fail({ operation: "listVaults", error: fault("unavailable"), times: 100 });
  await expect(calls.listVaults()).rejects.toMatchObject({ fault: "unavailable" });
  expect(count("listVaults")).toBe(6);
  const delays = events.map((event) => (event.type === "service-retry" ? event.delayMs : -1));
  expect(delays).toEqual([150, 250, 450, 850, 1650]);
});

test("an abort during a pause rejects with its reason and makes no further call", async () => {
  const { memory, service, count } = await start({ autoAdvance: false });
  memory.fail({ operation: "listVaults", error: fault("throttled"), times: 100 });
  const controller = new AbortController();
  const call = service.listVaults(undefined, { signal: controller.signal });
  const rejected = expect(call).rejects.toBe("enough");
  await settled();
  controller.abort("enough");
  await rejected;
  expect(count("listVaults")).toBe(1);
});

test("what is no answer of the service is thrown as it is", async () => {
  const { memory, calls, count } = await start();
  const bug = new TypeError("a bug");
  memory.fail({ operation: "listJobs", error: bug });
  await expect(calls.listJobs()).rejects.toBe(bug);
  expect(count("listJobs")).toBe(1);
});
