/** `casfs pin` and `casfs unpin`: whether local copies may be evicted. */

import type { Command } from "commander";
import { selectMounts, withControl } from "../casfs-mount.js";
import { counted, type Terminal } from "../terminal.js";

export function addPinCommands(program: Command, terminal: Terminal): void {
  program
    .command("pin")
    .description("keep the local copies of files for good")
    .argument("<PATH...>")
    .option("-r, --recursive", "changes nothing: a directory always means all files below it")
    .action((paths: string[]) => setPinned(paths, true, terminal));
  program
    .command("unpin")
    .description("let the local copies of files be evicted again")
    .argument("<PATH...>")
    .option("-r, --recursive", "changes nothing: a directory always means all files below it")
    .action((paths: string[]) => setPinned(paths, false, terminal));
}

async function setPinned(paths: readonly string[], pinned: boolean, terminal: Terminal): Promise<void> {
  let total = 0;
  for (const { mount, paths: names } of await selectMounts(paths)) {
    const { files } = await withControl(mount, (api) => api.setPinned({ paths: names, pinned }));
    total += files;
  }
  terminal.print(`${counted(total, "file")} ${pinned ? "pinned" : "unpinned"}`);
}
