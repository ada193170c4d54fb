/** `casfs inventory`: asks the service what a vault holds. */

import type { Command } from "commander";
import { untilInterrupted, withControl } from "../casfs-mount.js";
import { namedVault } from "../named-vault.js";
import type { Terminal } from "../terminal.js";

interface RefreshFlags {
  readonly mount?: string;
  readonly wait?: boolean;
}

export function addInventoryCommand(program: Command, terminal: Terminal): void {
  program
    .command("inventory")
    .description("what the service says a vault holds")
    .command("refresh")
    .description("order a new inventory of a vault and merge it into the catalog")
    .argument("<VAULT>", "directory of the vault; its name is enough when there is one mount")
    .option("--mount <MOUNTPOINT>", "the mount in which VAULT is the name of a vault")
    .option("--wait", "return when the inventory is merged")
    .action((vault: string, flags: RefreshFlags) => refresh(vault, flags, terminal));
}

async function refresh(vault: string, { mount: mountpoint, wait = false }: RefreshFlags, terminal: Terminal) {
  const { mount, name } = await namedVault(vault, { mountpoint });
  await withControl(mount, (api) => api.refreshInventory({ vault: name, wait }, untilInterrupted()));
  terminal.print(wait ? `the inventory of ${name} is merged` : `an inventory of ${name} is ordered`);
}
