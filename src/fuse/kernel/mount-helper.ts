/** Runs one of the system's programs that mount, with a descriptor of ours where its standard streams end. */

import { spawn } from "node:child_process";
import { programEnvironment } from "../mount-table.js";

/** The number of that descriptor in the program. */
export const inheritedDescriptor = 3;

/** How the program ended; what it said on standard error, in one line. */
export interface MountHelperResult {
  readonly ok: boolean;
  readonly said: string;
}

/** @throws Error when there is no such program. */
export async function runMountHelper(
  program: string,
  programArguments: readonly string[],
  { descriptor, env }: { readonly descriptor: number; readonly env?: NodeJS.ProcessEnv },
): Promise<MountHelperResult> {
  const child = spawn(program, programArguments, {
    stdio: ["ignore", "ignore", "pipe", descriptor],
    env: { ...programEnvironment, ...env },
    cwd: "/",
  });
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  return { ok: status === 0, said: said.trim().replaceAll("\n", "; ") };
}
