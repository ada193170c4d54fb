#!/usr/bin/env node
/** The command `casfs`. */

import { runCommand } from "./program.js";
import { Terminal } from "./terminal.js";

const terminal = new Terminal();
await runCommand(process.argv.slice(2), terminal);
process.exitCode = terminal.exitCode;
