/** Vault operations, access policy and notification configuration (cas-api sections 6, 7, 8.1). */

import { byteCount } from "../../domain/bytes.js";
import type { VaultName } from "../../domain/ids.js";
import type { Instant } from "../../domain/time.js";
import { invalidParameter } from "../../protocol/error-wire.js";
import { accessPolicyBytesMax } from "../../protocol/limits.js";
import { parsePageQuery } from "../../protocol/page-wire.js";
import { parsePolicy } from "../../protocol/policy.js";
import { formatVaultQcs, parseVaultQcs } from "../../protocol/qcs.js";
import type { VaultDescription } from "../../protocol/service.js";
import {
  formatAccessPolicy,
  formatNotification,
  formatVault,
  formatVaultCreated,
  formatVaultList,
  parseAccessPolicy,
  parseNotification,
} from "../../protocol/vault-wire.js";
import { notFound } from "../store/archive-store.js";
import type { VaultRow } from "../store/vault-table.js";
import { type Handlers, readJson } from "./exchange.js";

type VaultOperation =
  | "listVaults"
  | "createVault"
  | "describeVault"
  | "deleteVault"
  | "setAccessPolicy"
  | "getAccessPolicy"
  | "deleteAccessPolicy"
  | "setNotification"
  | "getNotification"
  | "deleteNotification";

export const vaultHandlers: Handlers<VaultOperation> = {
  listVaults(cas, { owner, parameters }) {
    const { marker, limit } = parsePageQuery(parameters);
    // A marker that is no vault's name still has a place in the order.
    const from = marker === undefined ? "" : (parseVaultQcs(marker) ?? marker);
    const rows = cas.store.vaults.list(owner.appId, from, limit + 1);
    const next = rows[limit];
    const items = rows.slice(0, limit).map(describe);
    const nextMarker = next === undefined ? null : formatVaultQcs(owner, next.name as VaultName);
    return { status: 200, json: formatVaultList(owner, { items, marker: nextMarker }) };
  },

  createVault(cas, { owner }, { vault }) {
    cas.store.createVault(owner.appId, vault);
    return { status: 201, headers: formatVaultCreated(owner, vault) };
  },

  describeVault(cas, { owner }, { vault }) {
    return { status: 200, json: formatVault(owner, describe(cas.store.vault(owner.appId, vault))) };
  },

  deleteVault(cas, { owner }, { vault }) {
    cas.store.deleteVault(cas.store.vault(owner.appId, vault));
    return { status: 204 };
  },

  async setAccessPolicy(cas, request, { vault }) {
    cas.store.vault(request.owner.appId, vault);
    const policy = parseAccessPolicy(await readJson(request));
    if (Buffer.byteLength(policy) > accessPolicyBytesMax) {
      throw invalidParameter(`The policy is longer than ${accessPolicyBytesMax} bytes`);
    }
    parsePolicy(policy);
    cas.store.setVaultOption(cas.store.vault(request.owner.appId, vault), "access_policy", policy);
    return { status: 204 };
  },

  getAccessPolicy(cas, { owner }, { vault }) {
    const { access_policy: policy } = cas.store.vault(owner.appId, vault);
    if (policy === null) throw notFound(`Vault ${vault} has no access policy`);
    return { status: 200, json: formatAccessPolicy(policy) };
  },

  deleteAccessPolicy(cas, { owner }, { vault }) {
    cas.store.setVaultOption(cas.store.vault(owner.appId, vault), "access_policy", null);
    return { status: 204 };
  },

  async setNotification(cas, request, { vault }) {
    cas.store.vault(request.owner.appId, vault);
    const configuration = formatNotification(parseNotification(await readJson(request)));
    const row = cas.store.vault(request.owner.appId, vault);
    cas.store.setVaultOption(row, "notification", JSON.stringify(configuration));
    return { status: 204 };
  },

  getNotification(cas, { owner }, { vault }) {
    const { notification } = cas.store.vault(owner.appId, vault);
    if (notification === null) throw notFound(`Vault ${vault} has no notification configuration`);
    return { status: 200, json: JSON.parse(notification) as object };
  },

  deleteNotification(cas, { owner }, { vault }) {
    cas.store.setVaultOption(cas.store.vault(owner.appId, vault), "notification", null);
    return { status: 204 };
  },
};

function describe(vault: VaultRow): VaultDescription {
  return {
    name: vault.name as VaultName,
    createdAt: vault.created_at_ms as Instant,
    lastInventoryAt: vault.inventory_at_ms as Instant | null,
    archiveCount: vault.inventory_count,
    sizeBytes: vault.inventory_bytes === null ? null : byteCount(vault.inventory_bytes),
  };
}
