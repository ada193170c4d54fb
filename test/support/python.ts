/** Whether there is a Python for the programs that tests run beside the file system. */

import { spawnSync } from "node:child_process";

/** Why no Python program can run here, or undefined. */
export function whyNoPython(): string | undefined {
  const { status } = spawnSync("python3", ["-c", "import sys; sys.exit(sys.version_info < (3, 8))"]);
  return status === 0 ? undefined : "there is no python3";
}
