/** A real `casfs` for tests: its processes, mounts and temporary places, all gone at the end. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { StatusReport } from "../../src/app/control-api.js";
import { controlClient } from "../../src/app/control-client.js";
import { systemClock } from "../../src/app/system-clock.js";
import { httpCasService } from "../../src/client/http-cas-service.js";
import { vaultName } from "../../src/domain/ids.js";
import { readInventoryJson } from "../../src/protocol/inventory-wire.js";
import type { InventoryEntry } from "../../src/restore/ports.js";
import { driverLimits } from "./driver-limits.js";
import { type CommandResult, run, shell } from "./fuse-environment.js";

export const casfsProgram = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

/** Runs one casfs command to its end. */
export function casfs(...commandArguments: readonly string[]): Promise<CommandResult> {
  return run(process.execPath, [casfsProgram, ...commandArguments], { timeoutMs: 120_000 });
}

export interface RunningCasfs {
  readonly child: ChildProcess;
  /** The line that it prints when it is ready. */
  readonly line: string;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Sends `signal` and waits for the end. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Starts a casfs command that goes on, such as `mount` and `serve`, and waits for its line. */
export async function startCasfs(
  commandArguments: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<RunningCasfs> {
  const child = spawn(process.execPath, [casfsProgram, ...commandArguments], {
    stdio: ["ignore", "pipe", "pipe"],
    cwd: "/",
    env: { ...process.env, ...env },
  });
  let stderr = "";
  let stdout = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      if (stdout.includes("\n")) resolve(stdout.slice(0, stdout.indexOf("\n")));
    });
    ended.then((status) => reject(new Error(`casfs ${commandArguments.join(" ")} ended with ${status}: ${stderr}`)));
  });
  return {
    child,
    line,
    stdout: () => stdout,
    stderr: () => stderr,
    async stop(signal = "SIGTERM") {
      child.kill(signal);
      return ended;
    },
  };
}

/** A temporary place with a data directory, a state directory and a mountpoint. */
export class TestMount implements AsyncDisposable {
  readonly data: string;
  readonly mountpoint: string;
  #states = 0;
  #running: RunningCasfs | undefined;

  private constructor(readonly directory: string) {
    this.data = join(directory, "data");
    this.mountpoint = join(directory, "mnt");
  }

  static async make(): Promise<TestMount> {
    const place = new TestMount(await mkdtemp(join(tmpdir(), "casfs-mount-")));
    await mkdir(place.mountpoint);
    return place;
  }

  get state(): string {
    return join(this.directory, `state-${this.#states}`);
  }

  get running(): RunningCasfs {
    if (this.#running === undefined) throw new Error("Nothing is mounted");
    return this.#running;
  }

  /** From now on another state directory: the next mount knows nothing. */
  forgetState(): void {
    this.#states += 1;
  }

  /** Mounts on the embedded service, or with `--endpoint` in `options` on another. */
  async mount(options: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<void> {
    const place = options.some((option) => option.startsWith("--endpoint")) ? [] : ["--local", this.data];
    const taken = options.filter((option) => !driverLimits.options.includes(option));
    const words = [...place, "--state", this.state, ...taken];
    this.#running = await startCasfs(["mount", this.mountpoint, ...words], env);
  }

  async unmount(): Promise<void> {
    const status = await this.running.stop();
    this.#running = undefined;
    if (status !== 0) throw new Error(`The mount ended with status ${status}`);
  }

  /** kill -9, as a crash; the stale mount is detached as a user would. */
  async crash(): Promise<void> {
    await this.running.stop("SIGKILL");
    this.#running = undefined;
    await casfs("unmount", this.mountpoint);
  }

  path(...names: readonly string[]): string {
    return join(this.mountpoint, ...names);
  }

  /** A new vault with `cold1`, `cold2` ... of 5,000 bytes each, archived and evicted. @throws Error with what failed. */
  async makeColdFiles(vault: string, count: number): Promise<void> {
    const script = 'mkdir "$1" && for i in $(seq 1 $2); do head -c 5000 /dev/urandom >"$1/cold$i"; done';
    const made = await shell(script, this.path(vault), String(count));
    if (made.status !== 0 || made.stderr !== "") throw new Error(`Cannot make cold files: ${made.stderr}`);
    for (const command of ["wait", "evict"]) {
      const { status, stderr } = await casfs(command, this.path(vault));
      if (status !== 0) throw new Error(`casfs ${command} ended with ${status}: ${stderr}`);
    }
  }

  /** What `casfs status --json` prints, without the time that a process takes to start. */
  async status(): Promise<StatusReport> {
    const control = controlClient(join(this.state, "control.sock"));
    try {
      return await control.status();
    } finally {
      await control.close();
    }
  }

  /** What the service has in a vault, by a fresh inventory. */
  async inventory(vault: string): Promise<InventoryEntry[]> {
    const { service } = await this.status();
    const credentials = JSON.parse(await readFile(join(this.data, "credentials.json"), "utf8"));
    const client = httpCasService({ endpoint: service.endpoint, credentials, clock: systemClock });
    try {
      const name = vaultName(vault);
      const job = await client.initiateJob(name, { action: "retrieve-inventory", format: "json" });
      while ((await client.describeJob(name, job)).status === "in-progress") {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      const entries: InventoryEntry[] = [];
      const output = await client.getJobOutput(name, job, undefined);
      for await (const batch of readInventoryJson(output.body)) entries.push(...batch);
      return entries;
    } finally {
      await client.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#running !== undefined) await this.running.stop();
    await run("umount", ["-l", this.mountpoint]);
    await rm(this.directory, { recursive: true, force: true });
  }
}
