/**
 * The compiled server as a child process whose clock a test moves.
 *
 *   await using server = await ServerProcess.start(directory, { retrievalMs: { … } });
 *   await server.advance(4 * hour); // jobs are done, uploads expire
 *   await server.kill();            // SIGKILL; start another on the same directory
 *
 * Relies on: a build in dist/. The key is that of `credentials` in test/server/cas-client.ts.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const script = fileURLToPath(new URL("./serve-child.mjs", import.meta.url));

export class ServerProcess implements AsyncDisposable {
  /** The server's clock minus the real one, for clients that sign with it. */
  aheadMs = 0;

  private constructor(
    readonly child: ChildProcess,
    readonly port: number,
  ) {}

  /** @throws Error with what the server says when it cannot start. */
  static async start(dataDirectory: string, options: object = {}): Promise<ServerProcess> {
    const child = spawn(process.execPath, [script, dataDirectory, JSON.stringify(options)], {
      stdio: ["ignore", "pipe", "inherit", "ipc"],
    });
    const ended = once(child, "exit").then(() => ["ended before it had said its port"]);
    const [line] = (await Promise.race([once(createInterface({ input: child.stdout! }), "line"), ended])) as [string];
    if (!line.startsWith("port: ")) throw new Error(`The server ${line}`);
    return new ServerProcess(child, Number(line.slice("port: ".length)));
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Moves the clock ahead; what was waiting for that time has begun when this resolves. */
  async advance(durationMs: number): Promise<void> {
    const answered = once(this.child, "message");
    this.child.send({ advanceMs: durationMs });
    const [{ nowMs }] = (await answered) as [{ nowMs: number }];
    this.aheadMs = nowMs - Date.now();
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = once(this.child, "exit");
    this.child.kill(signal);
    await exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
