/** The work of `casfs vault policy|notify|lock`. */

import { readFile } from "node:fs/promises";
import type { VaultName } from "../../domain/ids.js";
import { jsonOrUndefined } from "../../lib/json-text.js";
import { type NotificationEvent, notificationEvents } from "../../protocol/vault-wire.js";
import { CommandLineError } from "../failure.js";
import { ofInputFile } from "../input-file.js";
import { jsonOutput } from "../output.js";
import { attempting, withService } from "../service-session.js";
import { dateText, fieldLines } from "../table.js";
import type { Terminal } from "../terminal.js";

interface JsonFlag {
  readonly json?: boolean;
}

export async function getPolicy(vault: VaultName, flags: JsonFlag, terminal: Terminal): Promise<void> {
  await withService(flags, terminal, async ({ api, signal }) => {
    const call = api.getVaultAccessPolicy(vault, { signal });
    const { data } = await attempting(`read the access policy of the vault ${vault}`, call);
    terminal.print(documentText(data.policy));
  });
}

export async function setPolicy(vault: VaultName, file: string, flags: JsonFlag, terminal: Terminal): Promise<void> {
  const policy = await readDocument(file);
  await withService(flags, terminal, async ({ api, signal }) => {
    const call = api.setVaultAccessPolicy(vault, policy, { signal });
    await attempting(`set the access policy of the vault ${vault}`, call);
    terminal.print(flags.json ? jsonOutput({ vaultName: vault, policySet: true }) : `set the policy of ${vault}`);
  });
}

export async function removePolicy(vault: VaultName, flags: JsonFlag, terminal: Terminal): Promise<void> {
  await withService(flags, terminal, async ({ api, signal }) => {
    const call = api.deleteVaultAccessPolicy(vault, { signal });
    await attempting(`remove the access policy of the vault ${vault}`, call);
    terminal.print(flags.json ? jsonOutput({ vaultName: vault, removed: true }) : `removed the policy of ${vault}`);
  });
}

export async function getNotification(vault: VaultName, flags: JsonFlag, terminal: Terminal): Promise<void> {
  await withService(flags, terminal, async ({ api, signal }) => {
    const call = api.getNotificationConfiguration(vault, { signal });
    const { data } = await attempting(`read the notification configuration of the vault ${vault}`, call);
    if (flags.json) return terminal.print(jsonOutput(data));
    const fields = [["url", data.callBackUrl] as const, ["events", data.events.join(", ")] as const];
    for (const line of fieldLines(fields)) terminal.print(line);
  });
}

export async function setNotification(
  vault: VaultName,
  callBackUrl: string,
  flags: JsonFlag & { readonly event?: readonly NotificationEvent[] },
  terminal: Terminal,
): Promise<void> {
  const events = flags.event ?? notificationEvents;
  await withService(flags, terminal, async ({ api, signal }) => {
    const call = api.setNotificationConfiguration(vault, { callBackUrl, events }, { signal });
    await attempting(`set the notification configuration of the vault ${vault}`, call);
    const said = `the end of jobs of ${vault} is reported to ${callBackUrl}`;
    terminal.print(flags.json ? jsonOutput({ vaultName: vault, callBackUrl, events }) : said);
  });
}

export async function removeNotification(vault: VaultName, flags: JsonFlag, terminal: Terminal): Promise<void> {
  await withService(flags, terminal, async ({ api, signal }) => {
    const call = api.deleteNotificationConfiguration(vault, { signal });
    await attempting(`remove the notification configuration of the vault ${vault}`, call);
    const said = `the end of jobs of ${vault} is not reported any more`;
    terminal.print(flags.json ? jsonOutput({ vaultName: vault, removed: true }) : said);
  });
}

export async function getLock(vault: VaultName, flags: JsonFlag, terminal: Terminal): Promise<void> {
  await withService(flags, terminal, async ({ api, signal }) => {
    const { data } = await attempting(`read the lock of the vault ${vault}`, api.getVaultLock(vault, { signal }));
    if (flags.json) return terminal.print(jsonOutput(data));
    const fields = [
      ["state", data.state] as const,
      ["created", dateText(data.creationDate)] as const,
      ["expires", dateText(data.expirationDate)] as const,
    ];
    for (const line of fieldLines(fields)) terminal.print(line);
    terminal.print(documentText(data.policy));
  });
}

export async function startLock(vault: VaultName, file: string, flags: JsonFlag, terminal: Terminal): Promise<void> {
  const policy = await readDocument(file);
  await withService(flags, terminal, async ({ api, signal }) => {
    const call = api.initiateVaultLock(vault, policy, { signal });
    const { data } = await attempting(`lock the vault ${vault}`, call);
    terminal.print(flags.json ? jsonOutput({ vaultName: vault, lockId: data.lockId }) : data.lockId);
    if (!flags.json)
      terminal.tell(`casfs: on trial for 24 hours; \`casfs vault lock complete ${vault} LOCK_ID\` keeps it`);
  });
}

export async function completeLock(
  vault: VaultName,
  lockId: string,
  flags: JsonFlag & { readonly yes?: boolean },
  terminal: Terminal,
): Promise<void> {
  if (!flags.yes && !(terminal.isInteractive && (await terminal.confirm("This can never be undone. Lock it?")))) {
    terminal.tell("casfs: nothing was locked, because it can never be undone");
    if (!terminal.isInteractive) terminal.tell("hint: Add --yes to lock it for good");
    terminal.exitCode = 3;
    return;
  }
  await withService(flags, terminal, async ({ api, signal }) => {
    const call = api.completeVaultLock(vault, lockId, { signal });
    await attempting(`complete the lock of the vault ${vault}`, call);
    terminal.print(
      flags.json ? jsonOutput({ vaultName: vault, locked: true }) : `the vault ${vault} is locked for good`,
    );
  });
}

export async function abortLock(vault: VaultName, flags: JsonFlag, terminal: Terminal): Promise<void> {
  await withService(flags, terminal, async ({ api, signal }) => {
    await attempting(`abort the lock of the vault ${vault}`, api.abortVaultLock(vault, { signal }));
    terminal.print(flags.json ? jsonOutput({ vaultName: vault, aborted: true }) : `the lock of ${vault} is given up`);
  });
}

/** The service wants the text of a JSON object; a mistake is better told here. */
async function readDocument(file: string): Promise<string> {
  const text = await ofInputFile(file, readFile(file === "-" ? "/dev/stdin" : file, "utf8"));
  const value = jsonOrUndefined(text);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return JSON.stringify(value);
  throw new CommandLineError(`Cannot use ${file}: it is no JSON object`);
}

/** As a person would write it, when it is JSON. */
function documentText(policy: string): string {
  const value = jsonOrUndefined(policy);
  return value === undefined ? policy : jsonOutput(value);
}
