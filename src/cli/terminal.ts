/** Where a command's words go and its exit code is kept. */

import { createInterface } from "node:readline/promises";

/** 0 done, 1 failed, 2 usage, 3 nothing was changed because it would cost money and `--yes` is missing. */
export type ExitCode = 0 | 1 | 2 | 3;

export class Terminal {
  exitCode: ExitCode = 0;

  /** Whether a person sits there who can be asked. */
  get isInteractive(): boolean {
    return process.stdin.isTTY === true && process.stderr.isTTY === true;
  }

  constructor() {
    // A reader such as `head` that has seen enough is no failure; a mount goes on without anybody reading.
    process.stdout.on("error", ignoreClosedPipe);
    process.stderr.on("error", ignoreClosedPipe);
  }

  /** A line of the result, on standard output. */
  print(line: string): void {
    process.stdout.write(`${line}\n`);
  }

  /** A line for a person, on standard error. */
  tell(line: string): void {
    process.stderr.write(`${line}\n`);
  }

  /** Whether nobody reads standard output any more. */
  get isOutputGone(): boolean {
    return process.stdout.destroyed || process.stdout.errored !== null;
  }

  async confirm(question: string): Promise<boolean> {
    const lines = createInterface({ input: process.stdin, output: process.stderr });
    try {
      // Ctrl-D ends the input without an answer.
      const ended = new Promise<string>((resolve) => lines.once("close", () => resolve("")));
      const answer = await Promise.race([lines.question(`${question} [y/N] `), ended]);
      return /^y(es)?$/i.test(answer.trim());
    } finally {
      lines.close();
    }
  }
}

function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
}

/** `1 file`, `2 files`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
