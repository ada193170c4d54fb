/** The instrument itself: what it claims to do to a request happens on the wire, and nothing else does. */

import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { httpCasService } from "../../src/client/http-cas-service.js";
import { MIB } from "../../src/domain/bytes.js";
import type { Instant } from "../../src/domain/time.js";
import { credentials } from "../server/cas-client.js";
import { hour } from "../server/local-server.js";
import { FaultPlan, faults, type NamedFault, on, type SeenRequest } from "../support/fault-plan.js";
import { FaultProxy } from "../support/fault-proxy.js";
import { ServerProcess } from "../support/server-process.js";
import { newArchive, readAll, testBytes } from "../support/test-bytes.js";
import { FaultFixture, vault } from "./fault-fixture.js";

const bytes = testBytes(3 * MIB + 17);

let place: FaultFixture;
beforeEach(async () => {
  place = await FaultFixture.create();
});
afterEach(() => place[Symbol.asyncDispose]());

describe("without a plan", () => {
  test("requests and answers pass as they are, signature included", async () => {
    const archiveId = await place.service.uploadArchive(vault, newArchive(bytes));
    const output = await place.service.getJobOutput(vault, await place.retrieval(archiveId), undefined);
    expect((await readAll(output.body)).equals(bytes)).toBe(true);
    expect(place.proxy.count("uploadArchive", { answered: true })).toBe(1);
    expect(place.proxy.exchanges.map(({ operation }) => operation)).toEqual(["uploadArchive", "getJobOutput"]);
  });

  test("a request that nobody's client would send arrives as it was written", async () => {
    const socket = connect(place.proxy.port, "127.0.0.1");
    socket.write("GET /-/vaults HTTP/1.1\r\nHoST: somewhere\r\nX-A: 1\r\nX-A: 2\r\nConnection: close\r\n\r\n");
    const answer = (await readAll(socket)).toString();
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
    expect(answer).toContain("MissingAuthenticationTokenException");
  });
});

describe("a request that the server is not to see", () => {
  const kept: [NamedFault, object][] = [
    [faults.throttled(), { fault: "throttled", effect: "none" }],
    [faults.requestTimeout(), { fault: "timeout" }],
    [faults.serviceFailed(), { fault: "unavailable" }],
    [faults.noCapacity(), { fault: "unavailable" }],
    [faults.badGateway(), { fault: "unavailable" }],
    [faults.garbage(), { fault: "connection" }],
    [faults.resetBeforeRequest(), { fault: "connection" }],
    [faults.resetInRequestBody(), { fault: "connection" }],
    [faults.silence(), { fault: "timeout" }],
    [faults.corruptedRequest(), { fault: "digest", effect: "none" }],
  ];
  test.each(kept)("$name", async (named, failure) => {
    place.plan(on("uploadArchive", { nth: 1 }, named));
    await expect(place.service.uploadArchive(vault, newArchive(bytes))).rejects.toMatchObject(failure);
    expect(await place.archives()).toEqual([]);
    await place.service.uploadArchive(vault, newArchive(bytes));
    expect(await place.archives()).toHaveLength(1);
  });
});

describe("an answer that the client is not to see", () => {
  const lost: [NamedFault, object][] = [
    [faults.lostAnswer(), { fault: "connection", effect: "unknown" }],
    [faults.silentEffect(), { fault: "timeout", effect: "unknown" }],
    [faults.alteredHeader("x-cas-sha256-tree-hash"), { fault: "digest", effect: "unknown" }],
    [faults.missingHeader("x-cas-archive-id"), { fault: "unavailable", effect: "unknown" }],
  ];
  test.each(lost)("$name", async (named, failure) => {
    place.plan(on("uploadArchive", { nth: 1 }, named));
    await expect(place.service.uploadArchive(vault, newArchive(bytes))).rejects.toMatchObject(failure);
    expect(await place.archives()).toHaveLength(1);
  });
});

describe("an answer that breaks in its body", () => {
  const received = async () => {
    const job = await place.retrieval(await place.stored(bytes));
    const pieces: Uint8Array[] = [];
    const output = await place.service.getJobOutput(vault, job, undefined);
    const failure = await (async () => {
      for await (const piece of output.body) pieces.push(piece);
      return undefined;
    })().catch((error: unknown) => error);
    return { bytes: Buffer.concat(pieces), failure };
  };

  test("ends where it is truncated", async () => {
    place.plan(on("getJobOutput", { nth: 1 }, faults.truncatedAnswer(MIB)));
    const output = await received();
    expect(output.bytes.equals(bytes.subarray(0, MIB))).toBe(true);
    expect(output.failure).toMatchObject({ fault: "connection" });
  });

  test("stands still where it stalls", async () => {
    place.plan(on("getJobOutput", { nth: 1 }, faults.stalledAnswer(MIB)));
    const output = await received();
    expect(output.bytes.equals(bytes.subarray(0, MIB))).toBe(true);
    expect(output.failure).toMatchObject({ fault: "timeout" });
  });

  test("differs in one bit where it is corrupted", async () => {
    place.plan(on("getJobOutput", { nth: 1 }, faults.corruptedAnswer(MIB)));
    const output = await received();
    const expected = Buffer.from(bytes);
    expected[MIB]! ^= 1;
    expect(output.failure).toBeUndefined();
    expect(output.bytes.equals(expected)).toBe(true);
  });

  test("comes late when it is delayed", async () => {
    place.plan(on("getJobOutput", { nth: 1 }, faults.delayedAnswer(100)));
    const startedAt = performance.now();
    expect((await received()).bytes.equals(bytes)).toBe(true);
    expect(performance.now() - startedAt).toBeGreaterThan(95);
  });
});

describe("a plan", () => {
  const request = (operation: SeenRequest["operation"]): SeenRequest => {
    return { operation, method: "GET", target: "/", header: () => undefined };
  };
  const metBy = (plan: FaultPlan, count: number) =>
    Array.from({ length: count }, () => {
      const planned = plan.faultFor(request("listJobs"));
      planned?.hit();
      return planned !== undefined;
    });

  test("counts the requests of each rule by itself", () => {
    const fault = faults.throttled();
    expect(metBy(new FaultPlan([on("listJobs", { nth: 2 }, fault)]), 4)).toEqual([false, true, false, false]);
    expect(metBy(new FaultPlan([on("listJobs", { next: 2 }, fault)]), 4)).toEqual([true, true, false, false]);
    expect(metBy(new FaultPlan([on("any", { every: 2 }, fault)]), 4)).toEqual([false, true, false, true]);
    expect(metBy(new FaultPlan([on(["listJobs"], { from: 3 }, fault)]), 4)).toEqual([false, false, true, true]);
    expect(metBy(new FaultPlan([on("describeJob", { nth: 1 }, fault)]), 4)).toEqual([false, false, false, false]);
  });

  test("keeps a rule for the next request when another was first", () => {
    const plan = new FaultPlan([
      on("listJobs", { nth: 1 }, faults.throttled()),
      on("any", { nth: 1 }, faults.garbage()),
    ]);
    expect(plan.faultFor(request("listJobs"))?.name).toBe("400 ThrottlingException");
    expect(plan.faultFor(request("listJobs"))?.name).toBe("garbage");
  });

  test("names the faults that were not hit, and the proxy does at its end", async () => {
    const proxy = await FaultProxy.start(
      place.server.running.port,
      new FaultPlan([on("deleteVault", { nth: 2 }, faults.lostAnswer())]),
    );
    await expect(proxy[Symbol.asyncDispose]()).rejects.toThrow("a lost answer on deleteVault (nth 2; hit 0 times");
  });

  test("does not count a byte behind the end of a body as hit", async () => {
    place.plan(on("getJobOutput", { nth: 1 }, faults.corruptedAnswer(10 * MIB)));
    await readAll(
      (await place.service.getJobOutput(vault, await place.retrieval(await place.stored(bytes)), undefined)).body,
    );
    expect(() => place.proxy.plan.expectAllHit()).toThrow("a corrupted answer on getJobOutput");
    place.plan();
  });
});

describe("a server in another process", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "casfs-faults-"));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  test("has a clock that is moved by hand", async () => {
    const retrievalMs = { expedited: hour, standard: 4 * hour, bulk: 8 * hour, inventory: 3 * hour };
    await using server = await ServerProcess.start(directory, { retrievalMs });
    const clock = { ...place.clock, now: () => (Date.now() + server.aheadMs) as Instant };
    const service = httpCasService({ endpoint: server.url, credentials, clock });
    try {
      await service.createVault(vault);
      const job = await service.initiateJob(vault, { action: "retrieve-inventory", format: "json" });
      expect(await service.describeJob(vault, job)).toMatchObject({ status: "in-progress" });
      await server.advance(3 * hour);
      expect(await service.describeJob(vault, job)).toMatchObject({ status: "succeeded" });
    } finally {
      await service.close();
    }
  });
});
