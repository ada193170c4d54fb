/**
 * Who may do what with whose vault (cas-api sections 1, 7, 8.3).
 *
 * The owner of a vault may do everything that neither the vault's lock nor a `deny` of its access policy forbids. Other
 * accounts may do what the policy allows. Policy, notification and lock itself are the owner's alone, and no policy keeps
 * the owner from them: a policy that denies everything can still be taken back. But a user of the account whom it denies
 * them cannot lift what it denies.
 *
 * Relies on: the handler that follows does not wait before it looks for the vault. A request is judged when its head has
 * arrived, like its signature; a policy that changes while a body is received is about the next request.
 * Never: tells a stranger what exists. Every refusal of a stranger reads the same.
 */

import { isIPv4 } from "node:net";
import type { Instant } from "../../domain/time.js";
import { WireError } from "../../protocol/error-wire.js";
import { type Policy, parsePolicy } from "../../protocol/policy.js";
import { formatRoute, type Operation, type Route } from "../../protocol/routes.js";
import type { ArchiveStore } from "../store/archive-store.js";
import type { VaultRow } from "../store/vault-table.js";
import { type AccessRequest, actionNames, decide } from "./access-policy.js";
import type { Account } from "./accounts.js";
import type { VaultLocks } from "./vault-lock.js";

/** Not to be allowed to anybody by a policy, nor denied to the owner, that is, to the account's keys without a user. */
const ownersAlone: ReadonlySet<Operation> = new Set([
  "listVaults",
  "setAccessPolicy",
  "getAccessPolicy",
  "deleteAccessPolicy",
  "setNotification",
  "getNotification",
  "deleteNotification",
  "initiateVaultLock",
  "getVaultLock",
  "abortVaultLock",
  "completeVaultLock",
]);

const dayMs = 24 * 3600 * 1000;

export class AccessControl {
  readonly #store: ArchiveStore;
  readonly #locks: VaultLocks;
  readonly #region: string;

  constructor(store: ArchiveStore, locks: VaultLocks, { region }: { readonly region: string }) {
    this.#store = store;
    this.#locks = locks;
    this.#region = region;
  }

  /**
   * The app id of the account that `route` is about, once `caller` may do there what it asks for.
   *
   * @param remoteAddress Of the connection, for conditions on `qcs:ip`.
   * @throws WireError AccessDeniedException.
   */
  authorize(caller: Account, route: Route, remoteAddress: string | undefined): string {
    const owner = route.account === "-" ? caller.appId : route.account;
    const isOwner = owner === caller.appId;
    const isOwnersAlone = ownersAlone.has(route.operation);
    if (isOwnersAlone && !isOwner) throw denied(route);
    if (isOwnersAlone && caller.subUin === undefined) return owner;
    const vault = "vault" in route ? this.#store.vaults.find(owner, route.vault) : undefined;
    if (vault === undefined) {
      if (!isOwner) throw denied(route);
      return owner;
    }
    const request = this.#request(caller, route, vault, remoteAddress);
    this.#checkPolicy(vault, request, { isOwner, route });
    if (!isOwnersAlone) this.#checkLock(vault, request);
    return owner;
  }

  #checkPolicy(
    vault: VaultRow,
    request: AccessRequest,
    { isOwner, route }: { readonly isOwner: boolean; readonly route: Route },
  ): void {
    const policy = vault.access_policy === null ? undefined : storedPolicy(vault.access_policy);
    const decision = policy === undefined ? "unsaid" : decide(policy, request);
    if (decision === "allow") return;
    if (!isOwner) throw denied(route);
    if (decision === "deny") {
      throw accessDenied(`The access policy of vault ${vault.name} denies ${actionNames[request.operation]}`);
    }
  }

  #checkLock(vault: VaultRow, request: AccessRequest): void {
    const lock = this.#locks.find(vault);
    if (lock === undefined || decide(parsePolicy(lock.policy), request) !== "deny") return;
    throw accessDenied(`The lock of vault ${vault.name} denies ${actionNames[request.operation]}`);
  }

  #request(caller: Account, route: Route, vault: VaultRow, remoteAddress: string | undefined): AccessRequest {
    const now = this.#store.now();
    return {
      caller,
      operation: route.operation,
      vault: { region: this.#region, appId: vault.account, name: vault.name },
      resource: resourceOf(route),
      address: plainAddress(remoteAddress ?? ""),
      now,
      archiveAgeDays: "archive" in route ? this.#archiveAgeDays(vault, route.archive, now) : null,
    };
  }

  /** In whole days that have passed. */
  #archiveAgeDays(vault: VaultRow, archiveId: string, now: Instant): number | null {
    const archive = this.#store.archives.find(vault.vault_key, archiveId);
    if (archive === undefined || archive.body_key === null) return null;
    return Math.floor((now - archive.created_at_ms) / dayMs);
  }
}

/** A policy stored by a version that did not read it may be no policy; it allows and denies nothing. */
function storedPolicy(text: string): Policy | undefined {
  try {
    return parsePolicy(text);
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

function resourceOf(route: Route): string {
  const { path } = formatRoute(route);
  return path.slice(path.indexOf("/", 1) + 1);
}

/** An IPv4 address as a socket for both families shows it, `::ffff:192.0.2.1`, in its own form; without a zone. */
function plainAddress(address: string): string {
  const mapped = address.replace(/^::ffff:/i, "");
  return isIPv4(mapped) ? mapped : address.replace(/%.*$/, "");
}

function denied(route: Route): WireError {
  return accessDenied(`The key does not give access to account ${route.account} for ${actionNames[route.operation]}`);
}

function accessDenied(message: string): WireError {
  return new WireError("AccessDeniedException", message);
}
