/** The control socket: server and client together, in front of an api that does as the test says. */

import { mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ControlApi } from "../../src/app/control-api.js";
import { controlClient, isControlAnswering } from "../../src/app/control-client.js";
import { serveControl } from "../../src/app/control-server.js";
import { FileSystemError, UsageError } from "../../src/domain/errors.js";
import { abortable } from "../../src/lib/abort-scope.js";
import { type Deferred, deferred } from "../../src/lib/deferred.js";

/** Remembers what it was asked; `wait` lasts until its caller gives up. */
class FakeApi implements ControlApi {
  readonly requests: [method: string, request: unknown][] = [];
  readonly waiting: Deferred<AbortSignal> = deferred();
  failure: unknown;

  #note<T>(method: string, request: unknown, result: T): Promise<T> {
    this.requests.push([method, request]);
    return this.failure === undefined ? Promise.resolve(result) : Promise.reject(this.failure);
  }

  status = () => this.#note("status", {}, { mountpoint: "/mnt/cold" } as never);
  wait = (_request: unknown, signal: AbortSignal) => {
    this.waiting.resolve(signal);
    return abortable(new Promise<never>(() => undefined), signal);
  };
  drain = (request: unknown) => this.#note("drain", request, { archived: 0, left: [] });
  evict = (request: unknown) => this.#note("evict", request, { evicted: 1, bytes: 2, kept: [] });
  setPinned = (request: unknown) => this.#note("setPinned", request, { files: 3 });
  planRestore = (request: unknown) => this.#note("planRestore", request, { files: 4 } as never);
  restore = (request: unknown) => this.#note("restore", request, { started: 1, landed: 0, failed: [] });
  readRestored = (request: unknown) => this.#note("readRestored", request, { data: "", archiveId: "a" });
  cost = (request: unknown) => this.#note("cost", request, { currency: "CNY" } as never);
  ledger = (request: unknown) => this.#note("ledger", request, { months: [] } as never);
  takeOverVault = (request: unknown) =>
    this.#note("takeOverVault", request, { otherWriter: "other", uploads: 1, deletes: 2 });
  restoreProgress = (request: unknown) => this.#note("restoreProgress", request, null);
  fsck = (request: unknown) => this.#note("fsck", request, { errors: 0 } as never);
  refreshInventory = (request: unknown) => this.#note("refreshInventory", request, { merged: true });
}

let directory: string;
let api: FakeApi;
const opened: { close(): unknown }[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "casfs-control-"));
  api = new FakeApi();
});

afterEach(async () => {
  for (const thing of opened.splice(0).reverse()) await thing.close();
  await rm(directory, { recursive: true, force: true });
});

async function serve(socketPath = join(directory, "control.sock")) {
  const server = await serveControl({ socketPath, api });
  const client = controlClient(socketPath, { mountpoint: "/mnt/cold" });
  opened.push(server, client);
  return { server, client, socketPath };
}

/** A socket as a killed process leaves it: Node removes only the name under which it began to listen. */
async function leaveDeadSocket(socketPath: string): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${socketPath}.first`, resolve));
  await rename(`${socketPath}.first`, socketPath);
  await new Promise((resolve) => server.close(resolve));
}

describe("calls", () => {
  test("every method arrives with its request and its answer comes back", async () => {
    const { client } = await serve();
    const { signal } = new AbortController();
    const paths = [["photos", "a b.jpg"], []];

    expect(await client.status()).toEqual({ mountpoint: "/mnt/cold" });
    expect(await client.drain({}, signal)).toEqual({ archived: 0, left: [] });
    expect(await client.evict({ paths })).toEqual({ evicted: 1, bytes: 2, kept: [] });
    expect(await client.setPinned({ paths, pinned: false })).toEqual({ files: 3 });
    expect(await client.planRestore({ paths, recursive: true, tier: "bulk" })).toEqual({ files: 4 });
    expect(await client.restore({ paths, recursive: false, wait: true }, signal)).toMatchObject({ started: 1 });
    expect(await client.cost({ paths })).toEqual({ currency: "CNY" });
    expect(await client.ledger({ since: null })).toEqual({ months: [] });
    expect(await client.takeOverVault({ vault: "photos" })).toEqual({ otherWriter: "other", uploads: 1, deletes: 2 });
    expect(await client.refreshInventory({ vault: "photos", wait: false }, signal)).toEqual({ merged: true });

    expect(await client.restoreProgress({ batch: "mine" })).toBe(null);
    expect(await client.readRestored({ path: ["photos"], start: 5, length: 6 })).toEqual({ data: "", archiveId: "a" });
    expect(await client.fsck({ verify: true }, signal)).toEqual({ errors: 0 });

    expect(api.requests).toEqual([
      ["status", {}],
      ["drain", {}],
      ["evict", { paths }],
      ["setPinned", { paths, pinned: false }],
      ["planRestore", { paths, recursive: true, tier: "bulk" }],
      ["restore", { paths, recursive: false, wait: true }],
      ["cost", { paths }],
      ["ledger", { since: null }],
      ["takeOverVault", { vault: "photos" }],
      ["refreshInventory", { vault: "photos", wait: false }],
      ["restoreProgress", { batch: "mine" }],
      ["readRestored", { path: ["photos"], start: 5, length: 6 }],
      ["fsck", { verify: true }],
    ]);
  });

  test("a failure comes back with its kind, message and hint", async () => {
    const { client } = await serve();
    api.failure = new FileSystemError("not-ready", "Cannot list photos", { hint: "Wait for the inventory" });
    const error = await client.status().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(FileSystemError);
    expect(error).toMatchObject({ kind: "not-ready", message: "Cannot list photos", hint: "Wait for the inventory" });
  });

  test("a usage error comes back as one", async () => {
    const { client } = await serve();
    api.failure = new UsageError("Cannot pin a vault");
    await expect(client.setPinned({ paths: [], pinned: true })).rejects.toSatisfy(
      (error) => error instanceof UsageError && error.message === "Cannot pin a vault" && error.hint === undefined,
    );
  });

  test("a failure that nobody foresaw comes back as unavailable", async () => {
    const { client } = await serve();
    api.failure = new TypeError("x is undefined");
    await expect(client.status()).rejects.toMatchObject({ kind: "unavailable", message: "x is undefined" });
  });

  test.each([[[".."]], [["a/b"]], [[""]]])("names that are no names are refused: %j", async (path) => {
    const { client } = await serve();
    await expect(client.evict({ paths: [path] })).rejects.toMatchObject({ kind: "invalid" });
    expect(api.requests).toEqual([]);
  });

  test("a method that does not exist is refused with a hint", async () => {
    const { socketPath } = await serve();
    const answer = await new Promise<string>((resolve, reject) => {
      request({ socketPath, path: "/constructor", method: "POST", agent: false }, async (response) => {
        let text = "";
        for await (const chunk of response) text += chunk;
        resolve(text);
      })
        .once("error", reject)
        .end("{}");
    });
    expect(JSON.parse(answer)).toMatchObject({ error: { kind: "not-supported", hint: expect.any(String) } });
  });
});

describe("giving up", () => {
  test("an abort rejects with its reason and ends the waiting on the other side", async () => {
    const { client } = await serve();
    const controller = new AbortController();
    const waiting = client.wait({ paths: [[]] }, controller.signal);
    const serverSignal = await api.waiting.promise;
    const reason = new Error("enough");
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    if (!serverSignal.aborted) await new Promise((resolve) => serverSignal.addEventListener("abort", resolve));
    expect(serverSignal.reason).toMatchObject({ kind: "cancelled" });
  });

  test("a signal that is aborted already sends nothing", async () => {
    const { client } = await serve();
    await expect(client.drain({}, AbortSignal.abort(new Error("too late")))).rejects.toThrow("too late");
    expect(api.requests).toEqual([]);
  });

  test("closing the client ends its calls", async () => {
    const { client } = await serve();
    const waiting = client.wait({ paths: [] }, new AbortController().signal);
    const outcome = expect(waiting).rejects.toMatchObject({ kind: "cancelled" });
    await api.waiting.promise;
    client.close();
    await outcome;
  });

  test("closing the server tells the callers that wait, and removes the socket", async () => {
    const { server, client, socketPath } = await serve();
    const waiting = client.wait({ paths: [] }, new AbortController().signal);
    const outcome = expect(waiting).rejects.toThrow("The casfs mount is being unmounted");
    await api.waiting.promise;
    opened.splice(0, 1);
    await server.close();
    await outcome;
    await expect(stat(socketPath)).rejects.toMatchObject({ code: "ENOENT" });
    expect(await isControlAnswering(socketPath)).toBe(false);
  });
});

describe("the socket", () => {
  test("only its owner may use it", async () => {
    const { socketPath } = await serve();
    expect((await stat(socketPath)).mode & 0o777).toBe(0o600);
    expect(await isControlAnswering(socketPath)).toBe(true);
  });

  test("its path may be longer than an address of a socket", async () => {
    const deep = join(directory, "d".repeat(200), "e".repeat(200));
    await mkdir(deep, { recursive: true });
    const { client } = await serve(join(deep, "control.sock"));
    expect(await client.status()).toEqual({ mountpoint: "/mnt/cold" });
  });

  test("one that a dead process left is replaced", async () => {
    const socketPath = join(directory, "control.sock");
    await leaveDeadSocket(socketPath);
    expect(await isControlAnswering(socketPath)).toBe(false);
    const { client } = await serve(socketPath);
    expect(await client.status()).toEqual({ mountpoint: "/mnt/cold" });
  });

  test.each(["a missing socket", "a socket that nobody listens on"])(
    "%s means that it is not running",
    async (which) => {
      const socketPath = join(directory, "control.sock");
      if (which !== "a missing socket") await leaveDeadSocket(socketPath);
      const client = controlClient(socketPath, { mountpoint: "/mnt/cold" });
      const error = await client.status().catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(UsageError);
      expect(error).toMatchObject({
        message: "Cannot reach the casfs mount at /mnt/cold: it is not running",
        hint: expect.stringContaining("casfs mount"),
      });
    },
  );
});
