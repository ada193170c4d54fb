import { expect, test } from "vitest";
import { runOrphan } from "../../../src/fuse/native/orphan-program.js";

test("a program is nobody's child when it works", async () => {
  const { ok, text } = await runOrphan("/bin/sh", ["-c", 'ps -o ppid= -p "$$"']);
  expect(ok).toBe(true);
  expect(Number(text)).toBeGreaterThan(0);
  expect(Number(text)).not.toBe(process.pid);
});

test("what a program says and how it ends is told", async () => {
  const ended = await runOrphan("/bin/sh", ["-c", "echo said; echo wrong >&2; exit 3"]);
  expect(ended).toEqual({ ok: false, notInstalled: false, text: "said\nwrong" });
  expect(await runOrphan("/bin/false", [])).toMatchObject({ ok: false, text: "/bin/false ended with status 1" });
});

test("a program that is not installed is told from one that fails", async () => {
  expect(await runOrphan("casfs-has-no-such-program", [])).toMatchObject({ ok: false, notInstalled: true });
});
