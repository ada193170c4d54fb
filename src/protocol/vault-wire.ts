/** Vault messages (cas-api section 6), access policy (7) and notification configuration (8.1). */

import { type VaultName, vaultName } from "../domain/ids.js";
import { jsonOrUndefined } from "../lib/json-text.js";
import { invalidParameter, missingParameter } from "./error-wire.js";
import { JsonFields } from "./json-fields.js";
import type { HeaderRecord } from "./message-headers.js";
import { parsePage } from "./page-wire.js";
import { formatVaultQcs, type VaultOwner } from "./qcs.js";
import { vaultPath } from "./routes.js";
import type { Page, VaultDescription } from "./service.js";
import { formatTime } from "./wire-time.js";

/** All six keys are always there; clients index them (section 15.3). */
export interface VaultWire {
  readonly CreationDate: string;
  readonly LastInventoryDate: string | null;
  readonly NumberOfArchives: number | null;
  readonly SizeInBytes: number | null;
  readonly VaultQCS: string;
  readonly VaultName: string;
}

export interface VaultListWire {
  readonly Marker: string | null;
  readonly VaultList: readonly VaultWire[];
}

export function formatVaultCreated(owner: VaultOwner, vault: VaultName): HeaderRecord {
  return { location: vaultPath(owner.appId, vault) };
}

export function formatVault(owner: VaultOwner, vault: VaultDescription): VaultWire {
  return {
    CreationDate: formatTime(vault.createdAt),
    LastInventoryDate: vault.lastInventoryAt === null ? null : formatTime(vault.lastInventoryAt),
    NumberOfArchives: vault.archiveCount,
    SizeInBytes: vault.sizeBytes,
    VaultQCS: formatVaultQcs(owner, vault.name),
    VaultName: vault.name,
  };
}

/** @throws WireFormatError */
export function parseVault(value: unknown): VaultDescription {
  const fields = new JsonFields(value, "a vault description");
  return {
    name: fields.parsed("VaultName", vaultName),
    createdAt: fields.time("CreationDate"),
    lastInventoryAt: fields.timeOrNull("LastInventoryDate"),
    archiveCount: fields.bytesOrNull("NumberOfArchives"),
    sizeBytes: fields.bytesOrNull("SizeInBytes"),
  };
}

/** The marker is the QCS of the first vault of the next page. */
export function formatVaultList(owner: VaultOwner, page: Page<VaultDescription>): VaultListWire {
  return { Marker: page.marker, VaultList: page.items.map((vault) => formatVault(owner, vault)) };
}

/** @throws WireFormatError */
export function parseVaultList(value: unknown): Page<VaultDescription> {
  return parsePage(new JsonFields(value, "a list of vaults"), "VaultList", parseVault);
}

/** The policy document, as the text it was set to. */
export function formatAccessPolicy(policy: string): { readonly policy: string } {
  return { policy };
}

/** Takes `policy` or `Policy`; the document must be JSON text, because a client parses it unguarded. @throws WireError */
export function parseAccessPolicy(value: unknown): string {
  const fields = new JsonFields(value, "an access policy");
  const policy = fields.value("policy") ?? fields.value("Policy");
  if (policy === undefined || policy === null || policy === "") throw missingParameter("policy");
  if (typeof policy !== "string" || !isJsonObject(policy))
    throw invalidParameter("policy is not a JSON document as text");
  return policy;
}

export const notificationEvents = [
  "ArchiveRetrievalCompleted",
  "InventoryRetrievalCompleted",
  "PushToCOSCompleted",
  "PullFromCOSCompleted",
] as const;

export type NotificationEvent = (typeof notificationEvents)[number];

export interface NotificationConfiguration {
  readonly callbackUrl: string;
  readonly events: readonly NotificationEvent[];
}

export function formatNotification({ callbackUrl, events }: NotificationConfiguration): {
  readonly CallBackUrl: string;
  readonly Events: readonly NotificationEvent[];
} {
  return { CallBackUrl: callbackUrl, Events: events };
}

/** @throws WireError */
export function parseNotification(value: unknown): NotificationConfiguration {
  const fields = new JsonFields(value, "a notification configuration");
  const events = fields.value("Events") ?? fields.value("Event");
  if (!Array.isArray(events) || events.length === 0) throw missingParameter("Events");
  const unknown = events.find((event) => !notificationEvents.includes(event));
  if (unknown !== undefined) throw invalidParameter("Events names an unknown event");
  const url = fields.value("CallBackUrl");
  if (typeof url !== "string" || url === "") throw missingParameter("CallBackUrl");
  return { callbackUrl: checkCallbackUrl(url), events: [...new Set(events as NotificationEvent[])] };
}

/** @throws WireError unless `text` is an http:// or https:// URL. */
export function checkCallbackUrl(text: string): string {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) throw invalidParameter("CallBackUrl is not an http(s) URL");
  return text;
}

function isJsonObject(text: string): boolean {
  const value = jsonOrUndefined(text);
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
