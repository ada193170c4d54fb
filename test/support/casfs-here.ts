/** casfs commands within the process of a test, many times quicker than as processes of their own. */

import { runCommand } from "../../src/cli/program.js";
import { Terminal } from "../../src/cli/terminal.js";

export interface CommandOutcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A terminal at which nobody sits, and that keeps what is written. */
class CapturedTerminal extends Terminal {
  readonly #output: Buffer[] = [];
  stderr = "";

  get stdout(): string {
    return Buffer.concat(this.#output).toString("utf8");
  }

  override get isInteractive(): boolean {
    return false;
  }

  override get hasStatus(): boolean {
    return false;
  }

  override print(line: string): void {
    this.#output.push(Buffer.from(`${line}\n`));
  }

  override async write(piece: string | Uint8Array): Promise<void> {
    this.#output.push(Buffer.from(piece));
  }

  override tell(line: string): void {
    this.stderr += `${line}\n`;
  }

  reset(): void {
    this.exitCode = 0;
    this.#output.length = 0;
    this.stderr = "";
  }
}

/** One for all: each listens to the streams of this process. */
const terminal = new CapturedTerminal();

/** Runs one casfs command to its end; one at a time. */
export async function casfsHere(
  commandArguments: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<CommandOutcome> {
  const before = { ...process.env };
  Object.assign(process.env, env);
  try {
    terminal.reset();
    await runCommand(commandArguments, terminal);
    const { stdout, stderr, exitCode: status } = terminal;
    return { status, stdout, stderr };
  } finally {
    process.env = before;
  }
}
