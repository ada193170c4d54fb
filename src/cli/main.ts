#!/usr/bin/env node
/** The command `casfs`: argv to a command, its failure to a sentence and an exit code. */

import { readFileSync } from "node:fs";
import { Command } from "commander";
import { addDemoCommand } from "./commands/demo.js";
import { addEvictCommand } from "./commands/evict.js";
import { addInventoryCommand } from "./commands/inventory.js";
import { addMountCommand } from "./commands/mount.js";
import { addPinCommands } from "./commands/pin.js";
import { addRestoreCommand } from "./commands/restore.js";
import { addServeCommand } from "./commands/serve.js";
import { addStatusCommand } from "./commands/status.js";
import { addUnmountCommand } from "./commands/unmount.js";
import { addWaitCommand } from "./commands/wait.js";
import { reportFailure } from "./failure.js";
import { Terminal } from "./terminal.js";

const addCommands = [
  addMountCommand,
  addUnmountCommand,
  addServeCommand,
  addDemoCommand,
  addStatusCommand,
  addRestoreCommand,
  addWaitCommand,
  addEvictCommand,
  addPinCommands,
  addInventoryCommand,
];

function createProgram(terminal: Terminal): Command {
  const program = new Command("casfs")
    .description("Mounts a cold archive (Tencent Cloud Archive Storage vaults) as an ordinary directory.")
    .version(version(), "--version")
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(usageFailure(text)) });
  for (const add of addCommands) add(program, terminal);
  return program;
}

function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}

/** commander's `error: unknown option '--sate'\n(Did you mean --state?)` in our form. */
function usageFailure(text: string): string {
  const [sentence = "", suggestion = ""] = text.trim().split("\n");
  const hint = /^\((.*)\)$/.exec(suggestion)?.[1] ?? "Run `casfs --help`, or `casfs COMMAND --help`";
  return `casfs: ${sentence.replace(/^error: /, "").replace(/^./, (letter) => letter.toUpperCase())}\nhint: ${hint}\n`;
}

const terminal = new Terminal();
try {
  await createProgram(terminal).parseAsync();
} catch (error) {
  terminal.exitCode = reportFailure(error, terminal, { debug: process.env.CASFS_DEBUG === "1" });
}
process.exitCode = terminal.exitCode;
