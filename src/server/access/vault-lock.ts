/**
 * Vault locks: a policy that denies, first for a day, then for ever (cas-api section 8.3).
 *
 * CAS documents initiating and aborting. What it leaves open is as in Glacier: a vault with a lock, in progress or
 * permanent, refuses a second one; completing again with the right id succeeds, and with a wrong one is a bad parameter
 * while the lock is in progress and denied when it is permanent; aborting where there is no lock succeeds.
 *
 * A lock that was not completed in time is gone by the clock, whether or not its row still is there. A vault with a lock
 * can be deleted when it is empty and the lock's policy does not deny that; the lock goes with it.
 */

import type { Instant } from "../../domain/time.js";
import { invalidParameter, WireError } from "../../protocol/error-wire.js";
import { accessPolicyBytesMax, lockIdLength, vaultLockLifetimeMs } from "../../protocol/limits.js";
import { parsePolicy } from "../../protocol/policy.js";
import type { VaultLock } from "../../protocol/vault-lock-wire.js";
import { type ArchiveStore, notFound } from "../store/archive-store.js";
import type { VaultLockRow } from "../store/vault-lock-table.js";
import type { VaultRow } from "../store/vault-table.js";
import { isResourcePattern } from "./access-policy.js";

export class VaultLocks {
  readonly #store: ArchiveStore;

  constructor(store: ArchiveStore) {
    this.#store = store;
  }

  /** The lock that holds now, in progress or permanent. */
  find(vault: VaultRow): VaultLock | undefined {
    const row = this.#current(vault);
    return row === undefined ? undefined : describe(row);
  }

  /** Starts a lock and returns its id. @throws WireError when the policy is unfit, or the vault has a lock (403). */
  initiate(vault: VaultRow, policy: string): string {
    checkLockPolicy(policy);
    return this.#store.transaction(() => {
      if (this.#current(vault) !== undefined) throw denied(`Vault ${vault.name} has a lock already`);
      const now = this.#store.now();
      const lockId = this.#store.newId(lockIdLength);
      this.#store.locks.replace({
        vault_key: vault.vault_key,
        lock_id: lockId,
        policy,
        created_at_ms: now,
        expires_at_ms: now + vaultLockLifetimeMs,
        locked_at_ms: null,
      });
      return lockId;
    });
  }

  /** Makes the lock permanent. @throws WireError when there is none any more (404), or `lockId` is not its id. */
  complete(vault: VaultRow, lockId: string): void {
    this.#store.transaction(() => {
      const lock = this.#current(vault);
      if (lock === undefined) throw notFound(`Vault ${vault.name} has no lock in progress`);
      if (lock.lock_id !== lockId) {
        if (lock.locked_at_ms !== null) throw denied(`Vault ${vault.name} is locked`);
        throw invalidParameter("The lock id is not that of the lock in progress");
      }
      if (lock.locked_at_ms === null) this.#store.locks.setLocked(vault.vault_key, this.#store.now());
    });
  }

  /** Drops a lock in progress, if there is one. @throws WireError AccessDeniedException when it is permanent. */
  abort(vault: VaultRow): void {
    this.#store.transaction(() => {
      const lock = this.#current(vault);
      if (lock !== undefined && lock.locked_at_ms !== null) throw denied(`Vault ${vault.name} is locked`);
      this.#store.locks.delete(vault.vault_key);
    });
  }

  #current(vault: VaultRow): VaultLockRow | undefined {
    const row = this.#store.locks.find(vault.vault_key);
    if (row === undefined) return undefined;
    return row.locked_at_ms === null && this.#store.now() >= row.expires_at_ms ? undefined : row;
  }
}

/**
 * What becomes permanent has to be understood as a whole: no statement that is not a `deny`, no unknown condition, no
 * resource that is none.
 */
function checkLockPolicy(text: string): void {
  if (Buffer.byteLength(text) > accessPolicyBytesMax) {
    throw invalidParameter(`The policy is longer than ${accessPolicyBytesMax} bytes`);
  }
  const { statements } = parsePolicy(text);
  if (statements.length === 0) throw invalidParameter("The lock policy has no statement");
  if (statements.some(({ effect }) => effect !== "deny")) {
    throw invalidParameter("A lock policy has only statements with the effect Deny");
  }
  if (!statements.flatMap(({ resources }) => resources).every(isResourcePattern)) {
    throw invalidParameter("A resource of the lock policy is neither a vault's name nor in the form qcs::cas:...");
  }
  for (const condition of statements.flatMap(({ conditions }) => conditions)) {
    if (condition.kind === "unknown") throw invalidParameter(`The condition ${condition.name} is not known`);
  }
}

function describe(row: VaultLockRow): VaultLock {
  const isLocked = row.locked_at_ms !== null;
  return {
    policy: row.policy,
    state: isLocked ? "Locked" : "InProgress",
    createdAt: row.created_at_ms as Instant,
    expiresAt: isLocked ? null : (row.expires_at_ms as Instant),
  };
}

function denied(message: string): WireError {
  return new WireError("AccessDeniedException", message);
}
