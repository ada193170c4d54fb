/** A vault that a command line names: by the path of its directory, or by its name and a mount. */

import { FileSystemError } from "../domain/errors.js";
import { type CasfsMount, mountAt, onlyMount, selectMounts, statusOf } from "./casfs-mount.js";

export interface NamedVault {
  readonly mount: CasfsMount;
  readonly name: string;
}

/**
 * @param options.mountpoint The mount in which `vault` is a name; without it a path, or a name where there is one mount.
 * @throws FileSystemError when it cannot be told which is meant.
 */
export async function namedVault(
  vault: string,
  { mountpoint }: { readonly mountpoint?: string | undefined } = {},
): Promise<NamedVault> {
  return mountpoint === undefined ? vaultOf(vault) : { mount: await mountAt(mountpoint), name: vault };
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
  const mount = await onlyMount(`which ${name} is meant`, "--mount MOUNTPOINT");
  if (mount !== undefined) return { mount, name };
  throw new FileSystemError("invalid", `Cannot find vault ${name}: nothing is mounted`, {
    hint: "Mount it with `casfs mount`",
  });
}
