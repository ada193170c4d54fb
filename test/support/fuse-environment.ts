/** Whether this machine can mount, and commands that look at a mount from another process. */

import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";

/** Why no mount can be made here, or undefined. Tests are skipped with this reason, never passed. */
export function whyNoMount(): string | undefined {
  if (process.platform !== "linux") return "FUSE mounts need Linux";
  if (process.geteuid?.() !== 0) return "mounting needs root";
  try {
    accessSync("/dev/fuse", constants.R_OK | constants.W_OK);
    return undefined;
  } catch {
    return "there is no usable /dev/fuse";
  }
}

export interface CommandResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command in another process; never throws. Killed after `timeoutMs`, which shows as signal SIGKILL. */
export function run(
  command: string,
  commandArguments: readonly string[],
  { timeoutMs = 110_000, env }: { readonly timeoutMs?: number; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const options = {
      timeout: timeoutMs,
      killSignal: "SIGKILL" as const,
      maxBuffer: 64 * 2 ** 20,
      cwd: "/",
      env: { ...process.env, LC_ALL: "C", ...env },
    };
    const child = execFile(command, commandArguments, options, (_error, stdout, stderr) => {
      resolve({ status: child.exitCode, signal: child.signalCode, stdout, stderr });
    });
  });
}

/** Runs a shell script, with `$1`, `$2` ... from `parameters`. */
export function shell(script: string, ...parameters: readonly string[]): Promise<CommandResult> {
  return run("bash", ["-c", script, "bash", ...parameters]);
}

/** Waits until `condition` holds, looking every few milliseconds. @throws Error after `timeoutMs`. */
export async function eventually(condition: () => boolean, what: string, timeoutMs = 60_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
