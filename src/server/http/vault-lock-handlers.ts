/** Vault lock operations (cas-api section 8.3). */

import { vaultPath } from "../../protocol/routes.js";
import { formatLockInitiated, formatVaultLock, parseLockPolicy } from "../../protocol/vault-lock-wire.js";
import { notFound } from "../store/archive-store.js";
import { type Handlers, readJson } from "./exchange.js";

type LockOperation = "initiateVaultLock" | "getVaultLock" | "abortVaultLock" | "completeVaultLock";

export const vaultLockHandlers: Handlers<LockOperation> = {
  async initiateVaultLock(cas, request, { vault }) {
    const { appId } = request.owner;
    cas.store.vault(appId, vault);
    const policy = parseLockPolicy(await readJson(request));
    const lockId = cas.locks.initiate(cas.store.vault(appId, vault), policy);
    return { status: 201, headers: formatLockInitiated(`${vaultPath(appId, vault)}/lock-policy`, lockId) };
  },

  getVaultLock(cas, { owner }, { vault }) {
    const lock = cas.locks.find(cas.store.vault(owner.appId, vault));
    if (lock === undefined) throw notFound(`Vault ${vault} has no lock`);
    return { status: 200, json: formatVaultLock(lock) };
  },

  abortVaultLock(cas, { owner }, { vault }) {
    cas.locks.abort(cas.store.vault(owner.appId, vault));
    return { status: 204 };
  },

  completeVaultLock(cas, { owner }, { vault, lock }) {
    cas.locks.complete(cas.store.vault(owner.appId, vault), lock);
    return { status: 204 };
  },
};
