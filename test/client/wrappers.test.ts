import { describe, expect, test } from "vitest";
import { observedService } from "../../src/client/observed-service.js";
import { throttledService } from "../../src/client/throttled-service.js";
import { ServiceError } from "../../src/domain/errors.js";
import type { CasfsEvent } from "../../src/domain/events.js";
import { vaultName } from "../../src/domain/ids.js";
import { deferred } from "../../src/lib/deferred.js";
import type { CasService } from "../../src/protocol/service.js";
import { FakeClock, settled } from "../support/fake-clock.js";
import { MemoryCasService } from "../support/memory-cas-service.js";
import { newArchive, readAll, testBytes } from "../support/test-bytes.js";

const vault = vaultName("v");

async function start(limits: { transfersMax: number; callsMax: number; callsPerSecond?: number }) {
  const clock = new FakeClock();
  const memory = new MemoryCasService({ clock });
  await memory.createVault(vault);
  const archive = await memory.uploadArchive(vault, newArchive(testBytes(200_000)));
  const job = await memory.initiateJob(vault, { action: "retrieve-archive", archiveId: archive, tier: "standard" });
  return { clock, memory, job, service: throttledService(memory, { limits, clock }) };
}

/** Lets each call wait until it is let go, and notes how many waited at once. */
function hold(memory: MemoryCasService) {
  const gate = deferred<void>();
  const seen = { now: 0, most: 0 };
  memory.onCall = async () => {
    seen.now += 1;
    seen.most = Math.max(seen.most, seen.now);
    await gate.promise;
    seen.now -= 1;
  };
  return { seen, open: () => gate.resolve() };
}

describe("a throttled service", () => {
  test("has at most so many calls, and apart from them so many transfers, at a time", async () => {
    const { memory, service } = await start({ transfersMax: 2, callsMax: 3 });
    const { seen, open } = hold(memory);
    const uploads = Array.from({ length: 5 }, () => service.uploadArchive(vault, newArchive(testBytes(1))));
    await settled();
    expect(seen.now).toBe(2);
    const calls = Array.from({ length: 5 }, () => service.describeVault(vault));
    await settled();
    expect(seen.now).toBe(5);
    open();
    await Promise.all([...uploads, ...calls]);
    expect(seen.most).toBe(5);
  });

  test("counts a download until its body has ended, was left, or failed", async () => {
    const { memory, service, job } = await start({ transfersMax: 1, callsMax: 1 });
    const output = () => service.getJobOutput(vault, job, undefined);
    const first = await output();
    let second: Awaited<ReturnType<CasService["getJobOutput"]>> | undefined;
    const waiting = output().then((result) => {
      second = result;
      return result;
    });
    await settled();
    expect(second).toBeUndefined();
    expect(await readAll(first.body)).toHaveLength(200_000);
    for await (const _ of (await waiting).body) break;
    await (await output()).body[Symbol.asyncIterator]().return?.();
    memory.transformOutput = async function* (body) {
      yield* body;
      throw new ServiceError("connection", "lost");
    };
    await expect(readAll((await output()).body)).rejects.toMatchObject({ fault: "connection" });
    memory.fail({ operation: "getJobOutput", error: new ServiceError("throttled", "slow down") });
    await expect(output()).rejects.toMatchObject({ fault: "throttled" });
    memory.transformOutput = (body) => body;
    expect(await readAll((await output()).body)).toHaveLength(200_000);
  });

  test("makes so many calls in a second, those of one second at once", async () => {
    const { clock, memory, service } = await start({ transfersMax: 100, callsMax: 100, callsPerSecond: 10 });
    const before = memory.calls.listVaults;
    const made = () => memory.calls.listVaults - before;
    const calls = Array.from({ length: 30 }, () => service.listVaults());
    await settled();
    expect(made()).toBe(10);
    await clock.advance(1000);
    expect(made()).toBe(20);
    await clock.advance(1000);
    expect(made()).toBe(30);
    await Promise.all(calls);
  });

  test("lets go of a caller that gives up waiting", async () => {
    const { memory, service } = await start({ transfersMax: 1, callsMax: 1 });
    const { open } = hold(memory);
    const running = service.describeVault(vault);
    const controller = new AbortController();
    const waiting = service.describeVault(vault, { signal: controller.signal });
    const rejected = expect(waiting).rejects.toBe("enough");
    controller.abort("enough");
    await rejected;
    open();
    await running;
    await service.describeVault(vault);
  });
});

describe("an observed service", () => {
  test("reports every call with its duration and outcome", async () => {
    const clock = new FakeClock();
    const memory = new MemoryCasService({ clock });
    const events: CasfsEvent[] = [];
    const service = observedService(memory, { observer: (event) => void events.push(event), clock });
    memory.onCall = () => clock.advance(20);
    await service.createVault(vault);
    await expect(service.describeVault(vaultName("w"))).rejects.toMatchObject({ fault: "missing" });
    await expect(service.listVaults(undefined, { signal: AbortSignal.abort("enough") })).rejects.toBe("enough");
    expect(events).toEqual([
      { type: "service-call", operation: "createVault", durationMs: 20, outcome: "ok" },
      {
        type: "service-call",
        operation: "describeVault",
        durationMs: 20,
        outcome: "missing",
        message: "There is no vault w",
      },
      { type: "service-call", operation: "listVaults", durationMs: 0, outcome: "cancelled", message: "enough" },
    ]);
  });
});
