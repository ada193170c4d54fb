/** Runs the demo's programs as a user would: in one directory, each in its own process, casfs among them. */

import { type ChildProcess, type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { FileSystemError } from "../../domain/errors.js";

/** Nothing in the demo takes long; what does, hangs. */
const timeoutMs = 120_000;

const mainFile = fileURLToPath(new URL("../main.js", import.meta.url));

export class Programs {
  readonly #directory: string;
  readonly #environment: NodeJS.ProcessEnv;
  /** Its abort kills what runs. */
  readonly signal: AbortSignal;

  /** The user's own settings of casfs must not reach the demo. */
  constructor(options: { readonly directory: string; readonly settingsHome: string; readonly signal: AbortSignal }) {
    this.#directory = options.directory;
    this.signal = options.signal;
    const others = Object.entries(process.env).filter(([name]) => !name.startsWith("CASFS_"));
    this.#environment = { ...Object.fromEntries(others), XDG_CONFIG_HOME: options.settingsHome };
  }

  /** What it printed. @throws FileSystemError with the words of the program when it fails. */
  async run(program: string, programArguments: readonly string[]): Promise<string> {
    const [file, ...before] = program === "casfs" ? [process.execPath, mainFile] : [program];
    const child = spawn(file!, [...before, ...programArguments], {
      cwd: this.#directory,
      env: this.#environment,
      stdio: ["ignore", "pipe", "pipe"],
      signal: this.signal,
      timeout: timeoutMs,
    });
    const [output, complaints, status] = await Promise.all([text(child.stdout), text(child.stderr), ended(child)]);
    this.signal.throwIfAborted();
    if (status === "0") return output;
    throw new FileSystemError(
      "unavailable",
      `\`${program} ${programArguments[0]}\` ended with ${status}: ${complaints || output}`,
    );
  }

  /**
   * A mount in the foreground, in a process group of its own: a Ctrl-C reaches it by way of the demo only. `ready` is
   * the line that it prints, or rejects with its words when it cannot mount.
   */
  startMount(mountArguments: readonly string[]): { readonly child: ChildProcess; readonly ready: Promise<string> } {
    const child = spawn(process.execPath, [mainFile, "mount", ...mountArguments], {
      cwd: this.#directory,
      env: this.#environment,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    return { child, ready: readyLine(child) };
  }
}

async function readyLine(child: ChildProcessByStdio<null, Readable, Readable>): Promise<string> {
  const complaints = text(child.stderr);
  const line = await Promise.race([firstLine(child.stdout), ended(child).then(() => undefined)]);
  if (line !== undefined) return line;
  throw new FileSystemError("unavailable", `Cannot start the mount: ${(await complaints).replace(/^casfs: /, "")}`);
}

async function text(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8").trimEnd();
}

async function firstLine(stream: NodeJS.ReadableStream): Promise<string> {
  let start = "";
  return new Promise((resolve) => {
    stream.on("data", (chunk: Buffer) => {
      start += chunk.toString("utf8");
      const end = start.indexOf("\n");
      if (end >= 0) resolve(start.slice(0, end));
    });
  });
}

/** `0`, another status, or the name of a signal. */
export function ended(child: ChildProcess): Promise<string> {
  if (child.exitCode !== null || child.signalCode !== null)
    return Promise.resolve(child.signalCode ?? String(child.exitCode));
  return new Promise((resolve) => {
    child.once("exit", (code, signal) => resolve(signal ?? String(code)));
    child.once("error", (error) => resolve(error.message));
  });
}
