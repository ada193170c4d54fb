/** `casfs mount --daemon`: a worker that is killed is replaced on the same mount, and nobody notices who only waits or reads. */

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { casfs, casfsProgram, TestMount } from "../support/casfs-process.js";
import { run, shell, whyNoMount } from "../support/fuse-environment.js";
import { testBytes } from "../support/test-bytes.js";

const reason = whyNoMount() ?? (await whyNoResend());

/** RESEND came with Linux 6.9. */
async function whyNoResend(): Promise<string | undefined> {
  const [major = 0, minor = 0] = (await readFile("/proc/sys/kernel/osrelease", "utf8")).split(".").map(Number);
  return major > 6 || (major === 6 && minor >= 9) ? undefined : "Linux before 6.9 does not send requests again";
}

describe.skipIf(reason !== undefined)(`a supervised mount${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: TestMount;
  let source: string;

  beforeEach(async () => {
    mount = await TestMount.make();
    source = join(mount.directory, "source");
    await writeFile(source, testBytes(300_000));
    const options = ["--local", mount.data, "--state", mount.state, "--settle", "10ms", "--tier", "bulk"];
    expect(await casfs("mount", mount.mountpoint, "--daemon", ...options)).toMatchObject({ status: 0 });
    expect((await shell('mkdir "$1"', mount.path("v"))).stderr).toBe("");
  }, 60_000);

  afterEach(async () => {
    await casfs("unmount", mount.mountpoint);
    await mount[Symbol.asyncDispose]();
  }, 60_000);

  const worker = async () => {
    const owner = JSON.parse(await readFile(join(mount.state, "owner.json"), "utf8")) as { readonly pid: number };
    return owner.pid;
  };
  const log = () => readFile(join(mount.state, "mount.log"), "utf8");

  test("who waits for a recall gets it, who has a file open reads on, and names are there", async () => {
    await shell('cp "$1" "$2/cold"; cp "$1" "$2/warm"', source, mount.path("v"));
    expect((await casfs("wait", mount.path("v"))).status).toBe(0);
    expect((await casfs("evict", mount.path("v", "cold"))).status).toBe(0);
    const [vault, first] = [mount.path("v"), await worker()];
    const script = `
      exec 5<"$1/warm"; head -c 1000 <&5 >"$3.read"
      cat "$1/cold" >"$3.cold" & waiting=$!
      sleep 0.5; kill -9 "$2"
      ls "$1"
      cat <&5 >>"$3.read" && cmp "$3.read" "$3" && echo "read on"
      wait $waiting && cmp "$3.cold" "$3" && echo "waited"
      mkdir "$1/new" && echo "made" >"$1/new/a" && cat "$1/new/a"`;
    const result = await run("bash", ["-c", script, "bash", vault, String(first), source], { timeoutMs: 60_000 });
    expect(result).toMatchObject({ stderr: "", stdout: "cold\nwarm\nread on\nwaited\nmade\n" });
    expect(await worker()).not.toBe(first);
    expect(await log()).toContain("ended by SIGKILL; another one takes its place");
  }, 120_000);

  test("who was writing hears of it in write() and close(), and the file is what was promised before", async () => {
    await shell('echo promised >"$1"', mount.path("v", "file"));
    const script = `
import os, signal, sys
path, pid = sys.argv[1], int(sys.argv[2])
file = os.open(path, os.O_WRONLY)
os.write(file, b"overwritten")
os.kill(pid, signal.SIGKILL)
for name, call in (("write", lambda: os.write(file, b"more")), ("fsync", lambda: os.fsync(file)), ("close", lambda: os.close(file))):
    try:
        call()
        print(name, "succeeded")
    except OSError as error:
        print(name, error.strerror)
print(open(path).read(), end="")
print(sorted(os.listdir(os.path.dirname(path))))`;
    const result = await run("python3", ["-c", script, mount.path("v", "file"), String(await worker())], {
      timeoutMs: 60_000,
    });
    const error = "Input/output error";
    expect(result).toMatchObject({
      stderr: "",
      stdout: `write ${error}\nfsync ${error}\nclose ${error}\npromised\n['file', 'file (interrupted)']\n`,
    });
  }, 120_000);

  test("at the sixth end in a minute the mount is given up, and nothing says that another process comes", async () => {
    const deadline = Date.now() + 150_000;
    const killed = new Set<number>();
    while (!(await log()).includes("times in a minute") && Date.now() < deadline) {
      const pid = await worker().catch(() => 0); // The file is written anew by each process.
      if (pid !== 0 && !killed.has(pid)) {
        killed.add(pid);
        process.kill(pid, "SIGKILL");
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const lines = (await log())
      .split("\n")
      .filter((line) => line.includes("The process of") || line.includes(" ended "));
    expect(lines.at(-1)).toContain("ended 6 times in a minute");
    expect(lines.at(-2)).toMatch(/ended by SIGKILL$/);
    expect((await readFile("/proc/self/mounts", "utf8")).includes(mount.mountpoint)).toBe(false);
  }, 180_000);

  test.each([false, true])(
    "SIGTERM of the supervisor ends both, also while a worker is replaced (%s)",
    async (isReplaced) => {
      const pid = await worker();
      const parent = /^PPid:\t(\d+)$/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1];
      if (isReplaced) process.kill(pid, "SIGKILL");
      process.kill(Number(parent), "SIGTERM");
      const gone = `for i in $(seq 300); do [ -d /proc/$1 ] || [ -d /proc/$2 ] || exit 0; sleep 0.1; done; exit 1`;
      expect(await run("bash", ["-c", gone, "bash", String(pid), parent!], { timeoutMs: 60_000 })).toMatchObject({
        status: 0,
      });
      expect((await shell('grep -c " $1 " /proc/self/mountinfo', mount.mountpoint)).stdout).toBe("0\n");
    },
    120_000,
  );

  test("relative paths are those of the directory in which the command was given", async () => {
    await casfs("unmount", mount.mountpoint);
    const script = `cd "$1" && ${process.execPath} "$2" mount mnt --daemon --local here/data --state here/state 2>/dev/null
      mkdir mnt/v && echo x >mnt/v/a && ls here here/state/catalog.db`;
    const result = await shell(script, mount.directory, casfsProgram);
    expect(result.stdout).toBe(`mounted on ${mount.mountpoint}\nhere/state/catalog.db\n\nhere:\ndata\nstate\n`);
  }, 120_000);
});
