/** `casfs fsck`: whether catalog, staging, cache and inventory agree. */

import { resolve } from "node:path";
import type { Command } from "commander";
import type { FsckReport } from "../../app/control-api.js";
import { controlClient, isControlAnswering } from "../../app/control-client.js";
import { controlSocketPath } from "../../app/control-socket.js";
import { checkStateDirectory } from "../../app/state-check.js";
import { loadMountConfig, processSources } from "../../config/load-config.js";
import { mountAt, onlyMount } from "../casfs-mount.js";
import { configured } from "../failure.js";
import { fsckLines } from "../fsck-text.js";
import { stopSignals } from "../stop-signals.js";
import type { Terminal } from "../terminal.js";

interface FsckFlags {
  readonly state?: string;
  readonly verify?: boolean;
  readonly json?: boolean;
}

export function addFsckCommand(program: Command, terminal: Terminal): void {
  program
    .command("fsck")
    .description("check catalog, staging, cache and inventory against each other, mounted or not")
    .argument(
      "[MOUNTPOINT]",
      "without it, the one mount there is; when nothing is mounted, the state directory of `casfs mount`",
    )
    .option("--state <DIR>", "a state directory, mounted or not")
    .option("--verify", "read every cached copy, and drop those whose bytes are damaged")
    .option("--json", "for programs")
    .action((path: string | undefined, flags: FsckFlags) => fsck(path, flags, terminal));
}

async function fsck(path: string | undefined, flags: FsckFlags, terminal: Terminal): Promise<void> {
  const stateDirectory = await stateDirectoryOf(path, flags);
  using stop = stopSignals({ what: "The check", onRepeated: () => process.exit(130) });
  const report = await reportOf(stateDirectory, { verify: flags.verify ?? false }, stop.signal);
  if (flags.json) terminal.print(JSON.stringify(report, null, 2));
  else for (const line of fsckLines(report)) terminal.print(line);
  terminal.exitCode = report.errors === 0 ? 0 : 1;
}

async function stateDirectoryOf(path: string | undefined, { state }: FsckFlags): Promise<string> {
  if (state !== undefined) return resolve(state);
  if (path !== undefined) return (await mountAt(path)).stateDirectory;
  const mount = await onlyMount("which is to be checked", "MOUNTPOINT");
  if (mount !== undefined) return mount.stateDirectory;
  return (await configured(loadMountConfig(processSources({})))).stateDirectory;
}

async function reportOf(
  stateDirectory: string,
  request: { verify: boolean },
  signal: AbortSignal,
): Promise<FsckReport> {
  const socketPath = controlSocketPath(stateDirectory);
  if (!(await isControlAnswering(socketPath))) return checkStateDirectory(stateDirectory, request, signal);
  const client = controlClient(socketPath);
  try {
    return await client.fsck(request, signal);
  } finally {
    client.close();
  }
}
