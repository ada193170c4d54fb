import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { NotificationReceiver } from "../support/notification-receiver.js";
import { testBytes } from "../support/test-bytes.js";
import { hour, LocalServer, type LocalServerOptions } from "./local-server.js";

const minute = 60_000;
const everything = [
  "ArchiveRetrievalCompleted",
  "InventoryRetrievalCompleted",
  "PushToCOSCompleted",
  "PullFromCOSCompleted",
];

let receiver: NotificationReceiver;
let server: LocalServer;

beforeEach(async () => {
  receiver = await NotificationReceiver.start();
  server = await started();
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await receiver[Symbol.asyncDispose]();
});

async function started(options: LocalServerOptions = {}): Promise<LocalServer> {
  const fresh = await LocalServer.start(options);
  await fresh.client.createVault("v");
  return fresh;
}

async function configure(url: string, events: readonly string[] = everything): Promise<void> {
  const body = JSON.stringify({ CallBackUrl: url, Events: events });
  const reply = await server.client.call("PUT", "/-/vaults/v/notification-configuration", { body });
  expect(reply.status).toBe(204);
}

const inventory = (more: object = {}) => ({ Type: "inventory-retrieval", ...more });
const describeJob = async (job: string) => (await server.client.call("GET", `/-/vaults/v/jobs/${job}`)).json();
const arrived = (count: number) => expect.poll(() => receiver.received.length).toBe(count);
/** What has to stay away cannot be waited for; this is long for a loopback connection. */
const quiet = () => new Promise((resolve) => setTimeout(resolve, 60));

/** Minute after minute of the server's clock, with real time between them for what is on its way. */
const passingUntil = (isSo: () => boolean) =>
  expect
    .poll(async () => {
      await server.clock.advance(minute);
      return isSo();
    })
    .toBe(true);

describe("cas-api 8.2 Delivery", () => {
  test("the vault's address gets Describe Job of a job that succeeded, as a POST with JSON", async () => {
    await configure(receiver.url("/hook?a=b"));
    const job = await server.client.startedJob("v", inventory({ Description: "mine" }));
    await server.clock.advance(3 * hour - 1);
    await quiet();
    expect(receiver.received).toEqual([]);
    await server.clock.advance(1);
    await arrived(1);
    const [{ method, path, headers, job: told }] = receiver.received as [NotificationReceiver["received"][0]];
    expect({ method, path, type: headers["content-type"] }).toEqual({
      method: "POST",
      path: "/hook?a=b",
      type: "application/json",
    });
    expect(told).toEqual(await describeJob(job));
    expect(told).toMatchObject({ JobId: job, StatusCode: "Succeeded", JobDescription: "mine" });
    await server.clock.advance(hour);
    await quiet();
    expect(receiver.received.length).toBe(1);
  });

  test("a job that failed is told too", async () => {
    await configure(receiver.url());
    const archive = await server.client.uploaded("v", testBytes(10));
    const job = await server.client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive });
    await server.client.call("DELETE", `/-/vaults/v/archives/${archive}`);
    await server.clock.advance(4 * hour);
    await arrived(1);
    expect(receiver.received[0]?.job).toMatchObject({ JobId: job, StatusCode: "Failed", Completed: true });
    expect(receiver.received[0]?.job).toEqual(await describeJob(job));
  });

  test("a kind of job that the configuration does not list is not told, its own address is", async () => {
    await configure(receiver.url("/vault"), ["ArchiveRetrievalCompleted"]);
    await server.client.startedJob("v", inventory());
    const own = await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url("/own") }));
    await server.clock.advance(3 * hour);
    await arrived(1);
    await quiet();
    expect(receiver.received.map(({ path, job }) => [path, job.JobId])).toEqual([["/own", own]]);
  });

  test("with both addresses both are told, and one that is both is told once", async () => {
    await configure(receiver.url("/vault"));
    await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url("/own") }));
    await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url("/vault") }));
    await server.clock.advance(3 * hour);
    await arrived(3);
    await quiet();
    expect(receiver.received.map(({ path }) => path).sort()).toEqual(["/own", "/vault", "/vault"]);
  });

  test("an answer outside 2xx is tried again with pauses, five times, and then dropped with a warning", async () => {
    receiver.answer = (response) => void response.writeHead(503).end("busy");
    await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url("/secret-path") }));
    await server.clock.advance(3 * hour);
    await arrived(1);
    await quiet();
    await server.clock.advance(9000);
    await quiet();
    expect(receiver.received.length).toBe(1);
    await passingUntil(() => server.warnings.length > 0);
    expect(receiver.received.length).toBe(5);
    expect(server.warnings).toEqual([expect.stringMatching(/^Gave up a notification to 127\.0\.0\.1:\d+ after 5/)]);
    expect(server.warnings.join()).not.toContain("secret-path");
  });

  test("a later attempt that is answered ends it", async () => {
    let attempts = 0;
    receiver.answer = (response) => void response.writeHead(++attempts === 1 ? 500 : 204).end();
    await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url() }));
    await server.clock.advance(3 * hour);
    await arrived(1);
    await passingUntil(() => receiver.received.length > 1);
    await quiet();
    await server.clock.advance(hour);
    await quiet();
    expect([receiver.received.length, server.warnings]).toEqual([2, []]);
  });

  test("a redirect is a failure and is not followed", async () => {
    receiver.answer = (response) => void response.writeHead(307, { location: receiver.url("/elsewhere") }).end();
    await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url("/first") }));
    await server.clock.advance(3 * hour);
    await arrived(1);
    await quiet();
    expect(receiver.received.map(({ path }) => path)).toEqual(["/first"]);
  });

  test("an endless answer does not hold anything up", async () => {
    receiver.answer = (response) => {
      response.writeHead(200);
      const more = setInterval(() => response.write(Buffer.alloc(32 * 1024)), 1);
      response.on("close", () => clearInterval(more));
    };
    await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url() }));
    await server.clock.advance(3 * hour);
    await arrived(1);
    await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url("/next") }));
    receiver.answer = (response) => void response.end();
    await server.clock.advance(3 * hour);
    await expect.poll(() => receiver.received.some(({ path }) => path === "/next")).toBe(true);
  });

  test("jobs without an address are told to nobody, and a receiver that is gone disturbs no request", async () => {
    await server.client.startedJob("v", inventory());
    await server.client.startedJob("v", inventory({ CallBackUrl: "http://127.0.0.1:1/" }));
    await server.clock.advance(3 * hour);
    await quiet();
    expect((await server.client.call("GET", "/-/vaults/v/jobs")).json().JobList).toHaveLength(2);
    expect(receiver.received).toEqual([]);
  });
});

describe("cas-api 8.2 Restart", () => {
  test("what was not delivered before a stop is delivered after the next start", async () => {
    receiver.answer = (response) => response.destroy();
    const job = await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url() }));
    await server.clock.advance(3 * hour);
    await arrived(1);
    await quiet();
    server = await server.restarted();
    receiver.answer = (response) => void response.end();
    await passingUntil(() => receiver.received.length > 1);
    expect(receiver.received[1]?.job.JobId).toBe(job);
  });

  test("a job that became ready while the service was stopped is told at the next start, even if it has expired", async () => {
    const job = await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url() }));
    await server.stop();
    await server.clock.advance(100 * hour);
    server = await LocalServer.start({ dataDirectory: server.directory, clock: server.clock });
    await arrived(1);
    expect(receiver.received[0]?.job).toMatchObject({ JobId: job, StatusCode: "Succeeded" });
    expect((await server.client.call("GET", `/-/vaults/v/jobs/${job}`)).status).toBe(404);
  });
});

describe("allowed hosts", () => {
  async function withHosts(options: LocalServerOptions): Promise<void> {
    await server[Symbol.asyncDispose]();
    server = await started(options);
  }

  test("by default a host elsewhere is not contacted: the job runs, and a warning names the host alone", async () => {
    await configure("http://192.0.2.1:8080/token-in-path");
    const job = await server.client.startedJob("v", inventory());
    await server.clock.advance(3 * hour);
    await expect.poll(() => server.warnings).toHaveLength(1);
    expect(server.warnings[0]).toContain("192.0.2.1:8080");
    expect(server.warnings[0]).not.toContain("token-in-path");
    expect(await describeJob(job)).toMatchObject({ StatusCode: "Succeeded" });
  });

  test("localhost by name is allowed by default", async () => {
    await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url("/", "localhost") }));
    await server.clock.advance(3 * hour);
    await arrived(1);
  });

  test("a host that is not listed is refused even on this machine, and a port can be part of the list", async () => {
    await withHosts({ notifyHosts: ["127.0.0.1:1"] });
    await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url() }));
    await server.clock.advance(3 * hour);
    await expect.poll(() => server.warnings).toHaveLength(1);
    await withHosts({ notifyHosts: [`127.0.0.1:${receiver.port}`] });
    await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url() }));
    await server.clock.advance(3 * hour);
    await arrived(1);
  });

  test("an allowed name that resolves to this machine is refused, so that nobody's DNS leads inside", async () => {
    const lookup = async () => [{ address: "127.0.0.1", family: 4 }];
    await withHosts({ notifyHosts: ["*.example.com", "hooks.example.org"], lookup });
    await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url("/", "a.example.com") }));
    await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url("/", "hooks.example.org") }));
    await server.clock.advance(3 * hour);
    await expect.poll(() => server.warnings).toHaveLength(2);
    expect(receiver.received).toEqual([]);
  });

  test("the connection goes to the address that was checked, whatever the name resolves to a moment later", async () => {
    const answers = [[{ address: "127.0.0.1", family: 4 }], [{ address: "192.0.2.1", family: 4 }]];
    const lookup = async () => answers.shift() ?? [];
    await withHosts({ lookup });
    await server.client.startedJob("v", inventory({ CallBackUrl: receiver.url("/", "rebound.example.com") }));
    await server.clock.advance(3 * hour);
    await arrived(1);
    expect(receiver.received[0]?.headers.host).toBe(`rebound.example.com:${receiver.port}`);
    expect(answers.length).toBe(1);
  });
});
