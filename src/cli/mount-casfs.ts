#!/usr/bin/env node
/** The command `mount.casfs`, which mount(8) calls for file systems of type casfs, also for those in fstab. */

import { reportFailure } from "./failure.js";
import { type FstabMount, parseFstabMount } from "./fstab-mount.js";
import { runCommand } from "./program.js";
import { Terminal } from "./terminal.js";

/** Exit codes of mount(8): incorrect invocation, and mount failure. */
const exitCodes = { usage: 1, failed: 32 };

const terminal = new Terminal();
const mount = parsed();
if (mount !== undefined && !mount.isFake) await runCommand(mount.argv, terminal);
if (terminal.exitCode !== 0) process.exitCode = terminal.exitCode === 2 ? exitCodes.usage : exitCodes.failed;

function parsed(): FstabMount | undefined {
  try {
    return parseFstabMount(process.argv.slice(2));
  } catch (error) {
    terminal.exitCode = reportFailure(error, terminal, { debug: false });
    return undefined;
  }
}
