/** `casfs status`: what the mounts are doing. */

import type { Command } from "commander";
import type { StatusReport } from "../../app/control-api.js";
import { systemClock } from "../../app/system-clock.js";
import { seconds } from "../../domain/time.js";
import { printable } from "../../lib/printable.js";
import { allMounts, type CasfsMount, mountAt, statusOf } from "../casfs-mount.js";
import { failureText } from "../failure.js";
import { statusLines } from "../status-text.js";
import type { Terminal } from "../terminal.js";

interface StatusFlags {
  readonly json?: boolean;
  readonly watch?: boolean;
}

/** What `--json` prints for a mount that does not answer. */
interface UnansweredReport {
  readonly mountpoint: string;
  readonly stateDirectory: string;
  readonly error: string;
}

const watchIntervalMs = seconds(1);
const clearScreen = "\u001b[H\u001b[2J\u001b[3J";

export function addStatusCommand(program: Command, terminal: Terminal): void {
  program
    .command("status")
    .description("what a mount is doing: uploads, recalls, cache, vaults; without MOUNTPOINT, all mounts")
    .argument("[MOUNTPOINT]")
    .option("--json", "for programs: an object for one MOUNTPOINT, else an array")
    .option("--watch", "again every second, until Ctrl-C")
    .action((path: string | undefined, flags: StatusFlags) => status(path, flags, terminal));
}

async function status(path: string | undefined, flags: StatusFlags, terminal: Terminal): Promise<void> {
  for (;;) {
    const reports = await Promise.all((path === undefined ? await allMounts() : [await mountAt(path)]).map(reportOf));
    const text = flags.json ? jsonText(path === undefined ? reports : reports[0], flags) : peopleText(reports);
    if (flags.watch && !flags.json && process.stdout.isTTY) process.stdout.write(clearScreen);
    terminal.print(text);
    terminal.exitCode = reports.some((report) => "error" in report) ? 1 : 0;
    if (!flags.watch || terminal.isOutputGone) return;
    await systemClock.sleep(watchIntervalMs);
  }
}

/** A mount that does not answer must not hide the others. */
function reportOf(mount: CasfsMount): Promise<StatusReport | UnansweredReport> {
  return statusOf(mount).catch((error: unknown) => ({
    ...mount,
    error: failureText(error).message,
  }));
}

/** One line for each look when watching, so that a program can tell where it ends. */
function jsonText(value: unknown, { watch }: StatusFlags): string {
  return watch ? JSON.stringify(value) : JSON.stringify(value, null, 2);
}

function peopleText(reports: readonly (StatusReport | UnansweredReport)[]): string {
  if (reports.length === 0) return "no casfs mounts";
  const now = systemClock.now();
  return reports
    .map((report) =>
      "error" in report
        ? `${printable(report.mountpoint)}\n  ! ${report.error}`
        : statusLines(report, now).map(printable).join("\n"),
    )
    .join("\n\n");
}
