/**
 * A real mount whose requests to the service are counted, by a proxy between the two.
 *
 * Relies on: a build in dist/, and root with /dev/fuse (`whyNoMount`).
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { WaitResult } from "../../src/app/control-api.js";
import { controlClient } from "../../src/app/control-client.js";
import { type RunningCasfs, startCasfs, TestMount } from "../support/casfs-process.js";
import { FaultProxy } from "../support/fault-proxy.js";
import { type CommandResult, run } from "../support/fuse-environment.js";

const key = { CASFS_APP_ID: "-", CASFS_SECRET_ID: "counted", CASFS_SECRET_KEY: "counted-key" };

/** Requests that were answered with a success. */
export interface Requests {
  /** Archives that came to be, in one request or in parts. */
  readonly uploads: number;
  readonly parts: number;
  readonly deletes: number;
  /** Retrievals and inventories that were ordered. */
  readonly jobs: number;
}

export class CountedMount implements AsyncDisposable {
  private constructor(
    readonly place: TestMount,
    readonly proxy: FaultProxy,
    readonly server: RunningCasfs,
    readonly options: readonly string[],
  ) {}

  /** @param options Of the mount. */
  static async start(
    options: readonly string[],
    { retrieval = "standard=0s,inventory=0s" }: { readonly retrieval?: string } = {},
  ): Promise<CountedMount> {
    const place = await TestMount.make();
    const serve = ["serve", "--listen", "127.0.0.1:0", "--data", place.data, "--retrieval", retrieval];
    const server = await startCasfs(serve, key);
    const proxy = await FaultProxy.start(Number(new URL(server.line.replace("listening on ", "")).port));
    const mount = new CountedMount(place, proxy, server, options);
    await mkdir(mount.plain());
    await mount.mount();
    return mount;
  }

  async mount(): Promise<void> {
    await this.place.mount(["--endpoint", this.proxy.url, ...this.options], key);
  }

  /** A path in the mount. */
  path(...names: readonly string[]): string {
    return this.place.path(...names);
  }

  /** A path on the local disk, for a twin of what is in the mount. */
  plain(...names: readonly string[]): string {
    return join(this.place.directory, "plain", ...names);
  }

  get requests(): Requests {
    const count = (operation: Parameters<FaultProxy["count"]>[0]) => this.proxy.count(operation, { answered: true });
    return {
      uploads: count("uploadArchive") + count("completeMultipartUpload"),
      parts: count("uploadPart"),
      deletes: count("deleteArchive"),
      jobs: count("initiateJob"),
    };
  }

  /** As `casfs wait`, without the time that a process takes to start. */
  async wait(...names: readonly string[]): Promise<WaitResult> {
    const control = controlClient(join(this.place.state, "control.sock"));
    try {
      return await control.wait({ paths: [names] }, new AbortController().signal);
    } finally {
      control.close();
    }
  }

  /** As `casfs evict`: all of it is cold afterwards. */
  async evict(...names: readonly string[]): Promise<void> {
    const control = controlClient(join(this.place.state, "control.sock"));
    const deadline = Date.now() + 10_000;
    try {
      // The kernel tells of the last close() of a file a moment after it returned.
      for (;;) {
        const { kept } = await control.evict({ paths: [names] });
        if (kept.length === 0) return;
        if (Date.now() > deadline) throw new Error(`Not evicted: ${JSON.stringify(kept)}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    } finally {
      control.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.place[Symbol.asyncDispose]();
    await this.server.stop();
    await this.proxy[Symbol.asyncDispose]();
  }
}

/** Whether a program is here; tests of others are skipped and say so. */
export async function hasProgram(name: string): Promise<boolean> {
  return (await run("bash", ["-c", 'command -v "$1"', "bash", name])).status === 0;
}

/** Runs a shell script that stops at its first failure, with `$1`, `$2` … from `parameters`. */
export function script(text: string, ...parameters: readonly string[]): Promise<CommandResult> {
  const env = { HOME: "/nonexistent", TZ: "UTC" };
  // Where standard input is a socket, bash would read the machine's own start files.
  return run("bash", ["--norc", "-euo", "pipefail", "-c", text, "bash", ...parameters], { timeoutMs: 60_000, env });
}
