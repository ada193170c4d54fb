/**
 * A real `casfs mount` on a real `casfs serve` that is killed with -9 again and again, at moments that the test
 * chooses (crash-points.mjs), and mounted again on the same state.
 *
 * The next process is always there, with its modules loaded, so that a start takes a fifth of the usual time.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import type { ControlApi } from "../../src/app/control-api.js";
import { controlClient } from "../../src/app/control-client.js";
import { systemClock } from "../../src/app/system-clock.js";
import { httpCasService } from "../../src/client/http-cas-service.js";
import type { CasService } from "../../src/protocol/service.js";
import { type RunningCasfs, startCasfs, TestMount } from "./casfs-process.js";
import { run } from "./fuse-environment.js";
import { DurableRecord, type Spared } from "./power-loss.js";

const program = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const crashPoints = fileURLToPath(new URL("./crash-points.mjs", import.meta.url));
const instantJobs = "expedited=0s,standard=0s,bulk=0s,inventory=0s";

/** Which moments end the process: the first that is not `known`, or the one that is number `countdown`; else none. */
export interface Watch {
  readonly heading: string;
  readonly known?: Iterable<string>;
  readonly countdown?: number;
}

interface AccessKey {
  readonly CASFS_APP_ID: string;
  readonly CASFS_SECRET_ID: string;
  readonly CASFS_SECRET_KEY: string;
}

interface MountParts {
  readonly place: TestMount;
  readonly server: RunningCasfs;
  readonly options: readonly string[];
  readonly key: AccessKey;
  readonly recorder: DurableRecord | undefined;
  /** Is added to. */
  readonly deaths: string[];
}

interface Life {
  readonly child: ChildProcess;
  readonly orders: Duplex;
  readonly loaded: Promise<void>;
  readonly mounted: Promise<void>;
  readonly ended: Promise<void>;
  readonly stderr: () => string;
}

export class KilledMount implements AsyncDisposable {
  /** The moments at which a process has ended, in order. */
  readonly deaths: string[];
  readonly #place: TestMount;
  readonly #server: RunningCasfs;
  /** Of the mounts to come but one: that one is loaded already. */
  readonly options: string[];
  readonly #key: AccessKey;
  readonly #recorder: DurableRecord | undefined;
  #boots = 1;
  #spare: Life | undefined;
  #life: Life | undefined;

  private constructor(parts: MountParts) {
    this.#place = parts.place;
    this.#server = parts.server;
    this.#key = parts.key;
    this.#recorder = parts.recorder;
    this.options = [...parts.options];
    this.deaths = parts.deaths;
  }

  /** The service runs already; `start` mounts. */
  static async make(
    options: readonly string[] = [],
    { recordsSyncs = false, deaths = [] }: { readonly recordsSyncs?: boolean; readonly deaths?: string[] } = {},
  ): Promise<KilledMount> {
    const place = await TestMount.make();
    const serve = ["serve", "--listen", "127.0.0.1:0", "--data", place.data, "--retrieval", instantJobs];
    const server = await startCasfs([...serve, "--log-level", "warn"]);
    const { appId, secretId, secretKey } = JSON.parse(await readFile(join(place.data, "credentials.json"), "utf8"));
    const key = { CASFS_APP_ID: appId, CASFS_SECRET_ID: secretId, CASFS_SECRET_KEY: secretKey };
    const recorder = recordsSyncs ? DurableRecord.make(join(place.directory, "durable")) : undefined;
    return new KilledMount({ place, server, options, key, recorder, deaths });
  }

  get endpoint(): string {
    return this.#server.line.replace("listening on ", "");
  }

  get place(): TestMount {
    return this.#place;
  }

  /** Whether the process has ended since it was started. */
  get isDead(): boolean {
    return this.#life === undefined || this.#life.child.signalCode !== null || this.#life.child.exitCode !== null;
  }

  get pid(): number | undefined {
    return this.#life?.child.pid;
  }

  /** What the present process has written to standard error. */
  get stderr(): string {
    return this.#life?.stderr() ?? "";
  }

  /**
   * Mounts on what the former process has left.
   *
   * @param watch From the first step of the recovery on; a process that dies before it has mounted is followed by the
   *   next.
   */
  async start(watch?: () => Watch): Promise<void> {
    do {
      const life = this.#spare ?? this.#spawn();
      this.#spare = undefined;
      this.#life = life;
      await life.loaded;
      // Only now: of a process that died while it mounted, the program `mount` goes on by itself for a moment.
      await run("umount", ["-l", this.#place.mountpoint]);
      await this.watch(watch?.());
      await Promise.race([life.mounted, life.ended]);
      if (this.isDead) this.#bury();
    } while (this.#life === undefined);
    this.#spare = this.#spawn();
  }

  /** From now on; undefined: no moment ends the process. Silently nothing when it has ended already. */
  async watch(watch: Watch | undefined): Promise<void> {
    const life = this.#life;
    if (life === undefined || this.isDead) return;
    const known = watch?.known && [...watch.known];
    const obeyed = new Promise<void>((resolve) => life.orders.once("data", () => resolve()));
    life.orders.write(`${JSON.stringify({ ...watch, known })}\n`);
    await Promise.race([obeyed, life.ended]);
  }

  /** Waits for the end that a moment has brought or is about to bring, and notes that moment. */
  async dead(): Promise<void> {
    await this.#life?.ended;
    this.#bury();
  }

  /** kill -9 from outside, at whatever moment it is. @throws Error when it had ended by itself, and what it said. */
  async kill(): Promise<void> {
    const life = this.#life;
    life?.child.kill("SIGKILL");
    await life?.ended;
    this.#life = undefined;
    if (life !== undefined) requireKilled(life);
  }

  /** SIGTERM, an orderly end. @throws Error when it was none. */
  async stop(): Promise<void> {
    const life = this.#life;
    life?.child.kill("SIGTERM");
    await life?.ended;
    if (life?.child.exitCode !== 0) throw new Error(`The mount ended with ${life?.child.exitCode}: ${life?.stderr()}`);
    this.#life = undefined;
  }

  /** After a death: the machine, too, has lost its power, and what was not synced is gone but for `spared`. */
  losePower(spared: Spared): void {
    const before = this.#place.state;
    this.forgetState();
    this.#boots += 1;
    this.#recorder!.restore({ from: before, to: this.#place.state, spared });
  }

  /** From now on another state directory: the next process knows nothing. */
  forgetState(): void {
    this.#spare?.child.kill("SIGKILL");
    this.#spare = undefined;
    this.#place.forgetState();
  }

  /** Asks the running mount. */
  async control<T>(ask: (control: ControlApi) => Promise<T>): Promise<T> {
    const control = controlClient(join(this.#place.state, "control.sock"));
    try {
      return await ask(control);
    } finally {
      control.close();
    }
  }

  /** Asks the service, past the mount. */
  async service<T>(ask: (service: CasService) => Promise<T>): Promise<T> {
    const { CASFS_APP_ID: appId, CASFS_SECRET_ID: secretId, CASFS_SECRET_KEY: secretKey } = this.#key;
    const credentials = { secretId, secretKey };
    const service = httpCasService({ endpoint: this.endpoint, appId, credentials, clock: systemClock });
    try {
      return await ask(service);
    } finally {
      await service.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#spare?.child.kill("SIGKILL");
    try {
      await this.kill();
    } finally {
      await this.#server.stop();
      await this.#place[Symbol.asyncDispose]();
    }
  }

  get #surroundings(): NodeJS.ProcessEnv {
    const bootId = `boot ${this.#boots}`;
    return this.#recorder === undefined
      ? { CASFS_BOOT_ID: bootId }
      : { CASFS_BOOT_ID: bootId, CASFS_DURABLE: this.#recorder.directory };
  }

  get #moments(): string {
    return join(this.#place.directory, "moments");
  }

  #bury(): void {
    const life = this.#life!;
    this.#life = undefined;
    requireKilled(life);
    this.deaths.push(readFileSync(this.#moments, "utf8").trim().split("\n").at(-1)!);
    if (process.env.CASFS_TELL_DEATHS) console.error(this.deaths.at(-1));
  }

  #spawn(): Life {
    const { mountpoint, state } = this.#place;
    const mount = ["mount", mountpoint, "--endpoint", this.endpoint, "--state", state, "--log-level", "warn"];
    const child = spawn(process.execPath, ["--import", crashPoints, program, ...mount, ...this.options], {
      stdio: ["ignore", "pipe", "pipe", "pipe"],
      cwd: "/",
      env: {
        ...process.env,
        ...this.#key,
        CASFS_MOMENTS: this.#moments,
        CASFS_MOMENTS_STATE: state,
        ...this.#surroundings,
      },
    });
    let stderr = "";
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const orders = child.stdio[3] as Duplex;
    orders.on("error", () => undefined); // It has died.
    const loaded = new Promise<void>((resolve, reject) => {
      orders.once("data", () => resolve());
      ended.then(() => reject(new Error(`The mount ended while it was loaded: ${stderr}`)));
    });
    loaded.catch(() => undefined);
    const mounted = new Promise<void>((resolve) => {
      child.stdout!.setEncoding("utf8").on("data", (text: string) => text.includes("mounted on") && resolve());
    });
    return { child, orders, loaded, mounted, ended, stderr: () => stderr };
  }
}

/** @throws Error for any other end. */
function requireKilled({ child, stderr }: Life): void {
  if (child.signalCode === "SIGKILL") return;
  throw new Error(`The mount ended with ${child.exitCode ?? child.signalCode}: ${stderr()}`);
}
