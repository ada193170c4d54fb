/** Where a command's words go and its exit code is kept. */

import { createInterface } from "node:readline/promises";

/**
 * 0 done, 1 failed, 2 usage, 3 nothing was changed because it would cost money or cannot be undone, and `--yes` is
 * missing; 130 when Ctrl-C ended it, as shells have it.
 */
export type ExitCode = 0 | 1 | 2 | 3 | 130;

const clearLine = "\r\u001b[K";
const defaultColumns = 80;

export class Terminal {
  exitCode: ExitCode = 0;
  #status = "";
  #isOutputGone = false;

  /** Whether a person sits there who can be asked. */
  get isInteractive(): boolean {
    return process.stdin.isTTY === true && process.stderr.isTTY === true;
  }

  constructor() {
    process.stdout.on("error", (error: NodeJS.ErrnoException) => this.#endOutput(error));
    // Log lines that a full disk does not take are lost, never the mount that writes them.
    process.stderr.on("error", () => undefined);
  }

  /** A reader such as `head` that has seen enough is no failure; a mount goes on without anybody reading. */
  #endOutput({ code, message }: NodeJS.ErrnoException): void {
    if (this.#isOutputGone) return;
    this.#isOutputGone = true;
    if (code === "EPIPE") return;
    this.tell(`casfs: Cannot write to standard output: ${message}`);
    process.on("exit", () => {
      process.exitCode ||= 1;
    });
  }

  /** A line of the result, on standard output. */
  print(line: string): void {
    this.#aroundStatus(() => process.stdout.write(`${line}\n`));
  }

  /** A piece of a long result; resolves when there is room for the next. */
  async write(piece: string | Uint8Array): Promise<void> {
    if (this.isOutputGone || process.stdout.write(piece)) return;
    const ends = ["drain", "close", "error"] as const;
    await new Promise<void>((resolve) => {
      const done = () => {
        for (const end of ends) process.stdout.off(end, done);
        resolve();
      };
      for (const end of ends) process.stdout.on(end, done);
    });
  }

  /** A line for a person, on standard error. */
  tell(line: string): void {
    this.#aroundStatus(() => process.stderr.write(`${line}\n`));
  }

  /** Whether `showStatus` shows anything: a person looks at standard error. */
  get hasStatus(): boolean {
    return process.stderr.isTTY === true;
  }

  /** Characters of a status line; the last column is left alone, where some terminals wrap. */
  get statusWidth(): number {
    return (process.stderr.columns ?? defaultColumns) - 1;
  }

  /** What is going on, on the last line; the next call replaces it, the empty text removes it. */
  showStatus(text: string): void {
    if (!this.hasStatus) return;
    process.stderr.write(clearLine + text);
    this.#status = text;
  }

  #aroundStatus(write: () => void): void {
    if (this.#status !== "") process.stderr.write(clearLine);
    write();
    if (this.#status !== "") process.stderr.write(this.#status);
  }

  /** Whether nobody reads standard output any more. */
  get isOutputGone(): boolean {
    return this.#isOutputGone;
  }

  /** False for anything but a yes, and when `signal` is aborted. */
  async confirm(question: string, signal?: AbortSignal): Promise<boolean> {
    const lines = createInterface({ input: process.stdin, output: process.stderr });
    const giveUp = () => lines.close();
    signal?.addEventListener("abort", giveUp);
    try {
      // Ctrl-D and Ctrl-C end the input without an answer, and leave the cursor behind the question.
      const ended = new Promise<string>((resolve) => lines.once("close", () => resolve("\n")));
      const answer = await Promise.race([lines.question(`${question} [y/N] `), ended]);
      if (answer === "\n") this.tell("");
      return /^y(es)?$/i.test(answer.trim());
    } finally {
      signal?.removeEventListener("abort", giveUp);
      lines.close();
    }
  }
}

/** `1 file`, `2 files`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
