/** The work of `casfs vault ls|create|describe|rm`. */

import type { VaultName } from "../../domain/ids.js";
import { printable } from "../../lib/printable.js";
import type { VaultProperties } from "../../sdk/index.js";
import { jsonOutput, sizeText } from "../output.js";
import { attempting, attemptingEach, type ServiceSession, withHint, withService } from "../service-session.js";
import { dateText, fieldLines, tableLines } from "../table.js";
import type { Terminal } from "../terminal.js";

interface JsonFlag {
  readonly json?: boolean;
}

interface ListFlags extends JsonFlag {
  readonly limit?: number;
  readonly marker?: string;
  readonly bytes?: boolean;
}

export async function list(flags: ListFlags, terminal: Terminal): Promise<void> {
  await withService(flags, terminal, async (session) => {
    const { vaults, marker } = await listed(session, flags);
    if (flags.json) return terminal.print(jsonOutput({ vaults, marker }));
    if (vaults.length === 0) terminal.tell("no vaults; `casfs vault create NAME` makes one");
    else for (const line of vaultTable(vaults, flags)) terminal.print(line);
    if (marker !== null) terminal.tell(`more vaults follow: --marker ${printable(marker)}`);
  });
}

export async function create(vault: VaultName, flags: JsonFlag, terminal: Terminal): Promise<void> {
  await withService(flags, terminal, async ({ api, signal }) => {
    const { data } = await attempting(`create the vault ${vault}`, api.createVault(vault, { signal }));
    terminal.print(flags.json ? jsonOutput({ vaultName: vault, ...data }) : `created the vault ${vault}`);
  });
}

export async function describe(vault: VaultName, flags: JsonFlag, terminal: Terminal): Promise<void> {
  await withService(flags, terminal, async ({ api, signal }) => {
    const { data } = await attempting(`describe the vault ${vault}`, api.describeVault(vault, { signal }));
    if (flags.json) return terminal.print(jsonOutput(data));
    for (const line of fieldLines(vaultFields(data))) terminal.print(line);
  });
}

export async function remove(vault: VaultName, flags: JsonFlag, terminal: Terminal): Promise<void> {
  await withService(flags, terminal, async ({ api, signal }) => {
    await attempting(`remove the vault ${vault}`, api.deleteVault(vault, { signal })).catch((error: unknown) => {
      throw withHint(error, `\`casfs archive ls ${vault}\` and \`casfs upload ls ${vault}\` list what is in it`);
    });
    terminal.print(flags.json ? jsonOutput({ vaultName: vault, removed: true }) : `removed the vault ${vault}`);
  });
}

/** One page when a part is asked for, else all of them. */
async function listed({ api, signal }: ServiceSession, { limit, marker }: ListFlags) {
  if (limit !== undefined || marker !== undefined) {
    const { data } = await attempting("list the vaults", api.listVaults({ limit, marker }, { signal }));
    return { vaults: data.vaultList, marker: data.marker };
  }
  const vaults: VaultProperties[] = [];
  for await (const vault of attemptingEach("list the vaults", api.listAllVaults({ signal }))) vaults.push(vault);
  return { vaults, marker: null };
}

function vaultTable(vaults: readonly VaultProperties[], { bytes = false }: ListFlags): string[] {
  const rows = vaults.map((vault) => [
    vault.vaultName,
    String(vault.numberOfArchives ?? "-"),
    sizeText(vault.sizeInBytes, { bytes }),
    dateText(vault.creationDate),
    dateText(vault.lastInventoryDate),
  ]);
  const right = { align: "right" } as const;
  const columns = [{ title: "VAULT" }, { title: "ARCHIVES", ...right }, { title: "SIZE", ...right }];
  return tableLines([...columns, { title: "CREATED" }, { title: "INVENTORY" }], rows);
}

function vaultFields(vault: VaultProperties): (readonly [string, string])[] {
  return [
    ["vault", vault.vaultName],
    ["qcs", vault.vaultQcs],
    ["created", dateText(vault.creationDate)],
    ["archives", String(vault.numberOfArchives ?? "-")],
    ["size", sizeText(vault.sizeInBytes, { bytes: false, exact: true })],
    ["inventory", dateText(vault.lastInventoryDate)],
  ];
}
