/** What the service says about a vault and its settings, as the SDK's users see it (cas-api sections 6.2, 7, 8). */

import { JsonFields } from "../protocol/json-fields.js";
import { parsePage } from "../protocol/page-wire.js";
import { parseVaultLock as parseLock, type VaultLockState } from "../protocol/vault-lock-wire.js";
import type { NotificationEvent } from "../protocol/vault-wire.js";
import { dateOf, dateOrNull } from "./wire-date.js";

/** The counts are those of the service's last inventory, about a day old; null before the first one (section 6.2). */
export interface VaultProperties {
  readonly vaultName: string;
  /** The vault's resource name. */
  readonly vaultQcs: string;
  readonly creationDate: Date;
  readonly lastInventoryDate: Date | null;
  readonly numberOfArchives: number | null;
  readonly sizeInBytes: number | null;
}

/** `marker` asks for the next page; null when the list is complete (section 6.5). */
export interface VaultList {
  readonly marker: string | null;
  readonly vaultList: readonly VaultProperties[];
}

/** Where the end of jobs is reported (section 8.1). */
export interface NotificationConfiguration {
  /** `http://` or `https://`. */
  readonly callBackUrl: string;
  /** At least one. */
  readonly events: readonly NotificationEvent[];
}

/** The lock of a vault (section 8.3). */
export interface VaultLock {
  /** The lock policy, JSON text. */
  readonly policy: string;
  readonly state: VaultLockState;
  readonly creationDate: Date;
  /** Until then an InProgress lock can be completed; null for a permanent one. */
  readonly expirationDate: Date | null;
}

/** @throws WireFormatError */
export function parseVaultProperties(value: unknown): VaultProperties {
  const fields = new JsonFields(value, "a vault description");
  return {
    vaultName: fields.text("VaultName"),
    vaultQcs: fields.text("VaultQCS"),
    creationDate: dateOf(fields, "CreationDate"),
    lastInventoryDate: dateOrNull(fields, "LastInventoryDate"),
    numberOfArchives: fields.bytesOrNull("NumberOfArchives"),
    sizeInBytes: fields.bytesOrNull("SizeInBytes"),
  };
}

/** @throws WireFormatError */
export function parseVaultList(value: unknown): VaultList {
  const { marker, items } = parsePage(new JsonFields(value, "a list of vaults"), "VaultList", parseVaultProperties);
  return { marker, vaultList: items };
}

/** The policy text; the key is written in two ways (section 7). @throws WireFormatError */
export function parsePolicy(value: unknown): { readonly policy: string } {
  const fields = new JsonFields(value, "an access policy");
  return { policy: fields.text("policy") || fields.text("Policy") };
}

/** @throws WireFormatError */
export function parseNotificationConfiguration(value: unknown): NotificationConfiguration {
  const fields = new JsonFields(value, "a notification configuration");
  // An event that this SDK does not know yet is passed on as it is.
  return { callBackUrl: fields.text("CallBackUrl"), events: fields.list("Events").map(String) as NotificationEvent[] };
}

/** @throws WireFormatError */
export function parseVaultLock(value: unknown): VaultLock {
  const { policy, state, createdAt, expiresAt } = parseLock(value);
  return {
    policy,
    state,
    creationDate: new Date(createdAt),
    expirationDate: expiresAt === null ? null : new Date(expiresAt),
  };
}
