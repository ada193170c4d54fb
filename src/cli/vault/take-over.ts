/** The work of `casfs vault take-over`. */

import type { TakeOverResult } from "../../app/control-api.js";
import { controlClient, isControlAnswering } from "../../app/control-client.js";
import { controlSocketPath } from "../../app/control-socket.js";
import { takeOverInState } from "../../app/state-take-over.js";
import { FileSystemError } from "../../domain/errors.js";
import { vaultArgument } from "../arguments.js";
import { withControl } from "../casfs-mount.js";
import { namedVault } from "../named-vault.js";
import { counted, type Terminal } from "../terminal.js";

export interface TakeOverFlags {
  readonly mount?: string;
  readonly state?: string;
}

/** @param vault Its directory or, with `--mount` or `--state`, its name. */
export async function takeOver(vault: string, { mount, state }: TakeOverFlags, terminal: Terminal): Promise<void> {
  if (mount !== undefined && state !== undefined) {
    throw new FileSystemError("invalid", "Cannot use --mount and --state together: a mount knows its state directory");
  }
  const name = state === undefined ? undefined : vaultArgument(vault);
  const { otherWriter, uploads, deletes } =
    state === undefined || name === undefined ? await inMount(vault, mount) : await inState(state, name);
  if (otherWriter === null) return terminal.print(`${vault} is not read-only: no other writer was seen`);
  terminal.print(`${vault} is written to from here again; the other writer was ${otherWriter}`);
  if (uploads > 0) terminal.print(`${counted(uploads, "file")} that waited are uploaded now`);
  if (deletes > 0) terminal.print(`${counted(deletes, "archive")} that were removed here are deleted now`);
  terminal.tell("casfs: make sure that the other one is stopped: what it uploads from now on makes it read-only again");
}

async function inMount(vault: string, mountpoint: string | undefined): Promise<TakeOverResult> {
  const { mount, name } = await namedVault(vault, { mountpoint });
  return withControl(mount, (api) => api.takeOverVault({ vault: name }));
}

/** A mount that uses the state directory does it itself. */
async function inState(stateDirectory: string, vault: ReturnType<typeof vaultArgument>): Promise<TakeOverResult> {
  const socketPath = controlSocketPath(stateDirectory);
  if (!(await isControlAnswering(socketPath))) {
    return { otherWriter: await takeOverInState(stateDirectory, vault), uploads: 0, deletes: 0 };
  }
  const client = controlClient(socketPath);
  try {
    return await client.takeOverVault({ vault });
  } finally {
    client.close();
  }
}
