/** The commands of `casfs`: argv to a command, its failure to a sentence and an exit code. */

import { readFileSync } from "node:fs";
import { Command } from "commander";
import { printable } from "../lib/printable.js";
import { reportFailure } from "./failure.js";
import type { Terminal } from "./terminal.js";

type AddCommands = (program: Command, terminal: Terminal) => void;

/** In the order of `--help`. Each is loaded when it is named, all of them for the help. */
const commands: Readonly<Record<string, () => Promise<AddCommands>>> = {
  mount: async () => (await import("./commands/mount.js")).addMountCommand,
  unmount: async () => (await import("./commands/unmount.js")).addUnmountCommand,
  status: async () => (await import("./commands/status.js")).addStatusCommand,
  restore: async () => (await import("./commands/restore.js")).addRestoreCommand,
  cost: async () => (await import("./commands/cost.js")).addCostCommand,
  wait: async () => (await import("./commands/wait.js")).addWaitCommand,
  evict: async () => (await import("./commands/evict.js")).addEvictCommand,
  pin: async () => (await import("./commands/pin.js")).addPinCommands,
  fsck: async () => (await import("./commands/fsck.js")).addFsckCommand,
  inventory: async () => (await import("./commands/inventory.js")).addInventoryCommand,
  vault: async () => (await import("./commands/vault.js")).addVaultCommands,
  archive: async () => (await import("./commands/archive.js")).addArchiveCommands,
  job: async () => (await import("./commands/job.js")).addJobCommands,
  upload: async () => (await import("./commands/upload.js")).addUploadCommands,
  serve: async () => (await import("./commands/serve.js")).addServeCommand,
  demo: async () => (await import("./commands/demo.js")).addDemoCommand,
};

/** Runs one command line to its end; its exit code is left in `terminal`. @param argv Without `node` and the program. */
export async function runCommand(argv: readonly string[], terminal: Terminal): Promise<void> {
  try {
    const program = await createProgram(terminal, argv[0]);
    await program.parseAsync(argv, { from: "user" });
  } catch (error) {
    terminal.exitCode = reportFailure(error, terminal, { debug: process.env.CASFS_DEBUG === "1" });
  }
}

async function createProgram(terminal: Terminal, firstArgument: string | undefined): Promise<Command> {
  const program = new Command("casfs")
    .description("Mounts a cold archive (Tencent Cloud Archive Storage vaults) as an ordinary directory.")
    .version(version(), "--version")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.print(text.trimEnd()),
      writeErr: (text) => terminal.tell(text.trimEnd()),
      outputError: (text, write) => write(usageFailure(text)),
    });
  for (const load of commandsFor(firstArgument)) (await load())(program, terminal);
  return program;
}

function commandsFor(firstArgument: string | undefined): readonly (() => Promise<AddCommands>)[] {
  const named = firstArgument !== undefined && Object.hasOwn(commands, firstArgument) && commands[firstArgument];
  if (named) return [named];
  return firstArgument === "--version" ? [] : Object.values(commands);
}

function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}

/** commander's `error: unknown option '--sate'\n(Did you mean --state?)` in our form. */
function usageFailure(text: string): string {
  // What was given may itself have line breaks.
  const [, whole = "", suggestion] = /^(.*?)(?:\n\((.*)\))?$/s.exec(text.trim()) ?? [];
  const hint = suggestion ?? "Run `casfs --help`, or `casfs COMMAND --help`";
  const sentence = printable(whole);
  return `casfs: ${sentence.replace(/^error: /, "").replace(/^./, (letter) => letter.toUpperCase())}\nhint: ${hint}\n`;
}
