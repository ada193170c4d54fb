/** Commands on the service of this machine: they join the one that runs on the directory, or run it themselves. */

import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ServiceFixture } from "../cli/service-fixture.js";
import { startCasfs } from "../support/casfs-process.js";
import { eventually } from "../support/fuse-environment.js";

let service: ServiceFixture;
beforeEach(async () => {
  service = await ServiceFixture.make();
});
afterEach(() => service[Symbol.asyncDispose]());

const local = (...commandArguments: readonly string[]) =>
  service.casfsWith({}, [...commandArguments, "--local", service.data]);
const addressFile = () => join(service.data, "server.json");
const serveHere = () =>
  startCasfs(["serve", "--listen", "127.0.0.1:0", "--data", service.data], { HOME: service.home });

test("without a server the command runs one for its own time, and nothing costs anything", async () => {
  expect(await local("vault", "create", "mine")).toMatchObject({ status: 0 });
  expect(existsSync(addressFile())).toBe(false);
  const file = await service.file("small", 100);
  const archive = (await local("archive", "put", "mine", file)).stdout.trim();
  expect(await local("archive", "get", "mine", archive, service.path("copy"))).toMatchObject({ status: 0 });
  expect((await readFile(service.path("copy"))).equals(await readFile(file))).toBe(true);
  expect(await local("archive", "rm", "mine", archive)).toMatchObject({ status: 0 });
});

test("a server that runs on the directory is joined, and withdraws its address when it stops", async () => {
  const server = await serveHere();
  expect(JSON.parse(await readFile(addressFile(), "utf8"))).toEqual({
    url: server.line.replace("listening on ", ""),
    pid: server.child.pid,
  });
  expect(await local("vault", "create", "shared")).toMatchObject({ status: 0 });
  await server.stop();
  expect(existsSync(addressFile())).toBe(false);
  expect((await local("vault", "ls")).stdout).toContain("shared");
});

test("what a killed server has left is recognized", async () => {
  const server = await serveHere();
  await local("vault", "create", "kept");
  await server.stop("SIGKILL");
  expect(existsSync(addressFile())).toBe(true);
  expect((await local("vault", "ls")).stdout).toContain("kept");
  // Also when another process has its number by now.
  await writeFile(addressFile(), JSON.stringify({ url: "http://127.0.0.1:1", pid: process.ppid }));
  expect((await local("vault", "ls")).stdout).toContain("kept");
});

test("a command goes on when the one that ran the service for it ends before it", async () => {
  const owner = await serveHere();
  await local("vault", "create", "photos");
  const file = await service.file("large", 64 * 1024 * 1024);
  const small = ["--multipart-threshold", "16MiB", "--parallel", "1"];
  const command = service.startCommand(["archive", "put", "photos", file, ...small, "--local", service.data], {
    url: "",
  });
  let stdout = "";
  command.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  const ended = once(command, "exit");
  const records = join(service.home, ".local/state/casfs/uploads");
  await eventually(() => existsSync(records), "the upload has begun");
  await owner.stop();
  expect((await ended)[0]).toBe(0);
  expect((await local("archive", "ls", "photos")).stdout).toContain(stdout.trim());
});

test("a server with a key of its own is not guessed at: the command says how to reach it", async () => {
  await service.serve();
  const { status, stderr } = await local("vault", "ls");
  expect(status).toBe(1);
  expect(stderr).toContain("serves it with another access key\nhint: Give --endpoint http://127.0.0.1:");
});
