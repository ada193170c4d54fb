import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { tryLock } from "../../src/lib/process-lock.js";

const name = `test-${process.pid}`;

test("a name has one holder at a time, and is free again when that lets go", async () => {
  const first = await tryLock(name);
  expect(first).toBeDefined();
  expect(await tryLock(name)).toBeUndefined();
  const other = await tryLock(`${name}-other`);
  expect(other).toBeDefined();
  await first![Symbol.asyncDispose]();
  const again = await tryLock(name);
  expect(again).toBeDefined();
  await again![Symbol.asyncDispose]();
  await other![Symbol.asyncDispose]();
});

test("a process that is killed leaves no lock behind", async () => {
  const script = `require("node:net").createServer().listen({ path: "\\0casfs-lock-${name}" }, () => console.log("held"))`;
  const holder = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  await once(holder.stdout, "data");
  expect(await tryLock(name)).toBeUndefined();
  holder.kill("SIGKILL");
  await once(holder, "exit");
  const lock = await tryLock(name);
  expect(lock).toBeDefined();
  await lock![Symbol.asyncDispose]();
});
