/** `casfs inventory`: asks the service what a vault holds. */

import type { Command } from "commander";
import { FileSystemError } from "../../domain/errors.js";
import {
  allMounts,
  type CasfsMount,
  mountAt,
  selectMounts,
  statusOf,
  untilInterrupted,
  withControl,
} from "../casfs-mount.js";
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
  const { mount, name } =
    mountpoint === undefined ? await vaultOf(vault) : { mount: await mountAt(mountpoint), name: vault };
  await withControl(mount, (api) => api.refreshInventory({ vault: name, wait }, untilInterrupted()));
  terminal.print(wait ? `the inventory of ${name} is merged` : `an inventory of ${name} is ordered`);
}

interface NamedVault {
  readonly mount: CasfsMount;
  readonly name: string;
}

/** A path first, also one without a slash: inside a mount, `photos` is a directory. */
async function vaultOf(vault: string): Promise<NamedVault> {
  const isName = !vault.includes("/") && vault !== "." && vault !== "..";
  const byPath = await vaultAt(vault).catch((error: unknown) => {
    if (isName && error instanceof FileSystemError && error.kind === "not-found") return undefined;
    throw error;
  });
  return byPath ?? (await vaultOfOnlyMount(vault));
}

async function vaultAt(path: string): Promise<NamedVault> {
  const { mount, paths } = (await selectMounts([path]))[0]!;
  const [name, ...below] = paths[0]!;
  if (name !== undefined && below.length === 0) return { mount, name };
  const only = name === undefined ? await onlyVault(mount) : undefined;
  if (only !== undefined) return { mount, name: only };
  throw new FileSystemError("invalid", `Cannot use ${path}: it is not the directory of a vault`);
}

/** With `--vault` the mount itself is the directory of the vault. */
async function onlyVault(mount: CasfsMount): Promise<string | undefined> {
  const { vaults } = await statusOf(mount);
  return vaults.length === 1 ? vaults[0]!.name : undefined;
}

async function vaultOfOnlyMount(name: string): Promise<NamedVault> {
  const [mount, ...others] = await allMounts();
  if (mount !== undefined && others.length === 0) return { mount, name };
  throw new FileSystemError(
    "invalid",
    mount === undefined
      ? `Cannot refresh ${name}: nothing is mounted`
      : `Cannot tell which ${name} is meant: there are ${others.length + 1} casfs mounts`,
    { hint: mount === undefined ? "Mount it with `casfs mount`" : "Name the mount with --mount MOUNTPOINT" },
  );
}
