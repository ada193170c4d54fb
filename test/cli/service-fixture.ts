/**
 * A real `casfs serve` with short retrieval times, and commands that use it as one somewhere else, or as a local one.
 *
 * Commands run within the test, a hundred times quicker than as processes; those that are to be killed are processes.
 */

import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type CommandOutcome, casfsHere } from "../support/casfs-here.js";
import { type RunningCasfs, startCasfs } from "../support/casfs-process.js";
import { testBytes } from "../support/test-bytes.js";

const program = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const key = { CASFS_SECRET_ID: "me", CASFS_SECRET_KEY: "hush" };
const retrieval = "expedited=1h,standard=300ms,bulk=400ms,inventory=200ms";

export class ServiceFixture implements AsyncDisposable {
  readonly home: string;
  readonly data: string;
  #server: RunningCasfs | undefined;

  private constructor(readonly directory: string) {
    this.home = join(directory, "home");
    this.data = join(directory, "data");
  }

  /** With a server that runs. */
  static async start(): Promise<ServiceFixture> {
    const fixture = await ServiceFixture.make();
    await fixture.serve();
    return fixture;
  }

  /** Without a server. */
  static async make(): Promise<ServiceFixture> {
    const fixture = new ServiceFixture(await mkdtemp(join(tmpdir(), "casfs-service-")));
    await mkdir(fixture.home);
    return fixture;
  }

  /** `casfs serve` with a key of its own. */
  async serve(...options: readonly string[]): Promise<void> {
    const place = ["serve", "--listen", "127.0.0.1:0", "--data", this.data, "--retrieval", retrieval];
    this.#server = await startCasfs([...place, ...options], { ...key, HOME: this.home });
  }

  async stopServer(signal?: NodeJS.Signals): Promise<void> {
    await this.#server?.stop(signal);
    this.#server = undefined;
  }

  get url(): string {
    return (this.#server?.line ?? "").replace(/^listening on /, "");
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  /** Runs a command on the service at `url`, which is somewhere else as far as it knows. */
  casfs(
    commandArguments: readonly string[],
    { url = this.url }: { readonly url?: string } = {},
  ): Promise<CommandOutcome> {
    return this.casfsWith({ ...key, CASFS_ENDPOINT: url }, commandArguments);
  }

  /** Runs a command with nothing but these variables. */
  casfsWith(env: NodeJS.ProcessEnv, commandArguments: readonly string[]): Promise<CommandOutcome> {
    return casfsHere(commandArguments, this.#environment(env));
  }

  /** Starts a command and gives its process, to be killed. */
  startCommand(
    commandArguments: readonly string[],
    { url = this.url, stdin = "ignore" }: { readonly url?: string; readonly stdin?: "ignore" | "pipe" } = {},
  ) {
    return spawn(process.execPath, [program, ...commandArguments], {
      stdio: [stdin, "pipe", "pipe"],
      env: { ...process.env, ...this.#environment({ ...key, CASFS_ENDPOINT: url }) },
    });
  }

  /** Where commands write down their unfinished uploads. */
  get records(): string {
    return join(this.home, ".local/state/casfs/uploads");
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** A file of `sizeBytes` whose bytes tell their place. */
  async file(name: string, sizeBytes: number): Promise<string> {
    await writeFile(this.path(name), testBytes(sizeBytes));
    return this.path(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopServer();
    await rm(this.directory, { recursive: true, force: true });
  }

  #environment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
    const xdg = { XDG_STATE_HOME: "", XDG_DATA_HOME: "", XDG_CONFIG_HOME: "" };
    return { ...xdg, HOME: this.home, CASFS_ENDPOINT: "", CASFS_SECRET_ID: "", CASFS_SECRET_KEY: "", ...env };
  }
}
