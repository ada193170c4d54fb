/** Vault lock messages (cas-api section 8.3). */

import type { Instant } from "../domain/time.js";
import { jsonOrUndefined } from "../lib/json-text.js";
import { invalidParameter, missingParameter } from "./error-wire.js";
import { JsonFields } from "./json-fields.js";
import type { HeaderRecord } from "./message-headers.js";
import { formatTime } from "./wire-time.js";

export type VaultLockState = "InProgress" | "Locked";

/** A lock waits for its completion for a day, and denies deletions meanwhile; then it is gone, or permanent. */
export interface VaultLock {
  /** The policy document, as the text it was set to. */
  readonly policy: string;
  readonly state: VaultLockState;
  readonly createdAt: Instant;
  /** When a lock in progress ends; null once it is permanent. */
  readonly expiresAt: Instant | null;
}

export interface VaultLockWire {
  readonly Policy: string;
  readonly State: VaultLockState;
  readonly CreationDate: string;
  readonly ExpirationDate: string | null;
}

export function formatVaultLock(lock: VaultLock): VaultLockWire {
  return {
    Policy: lock.policy,
    State: lock.state,
    CreationDate: formatTime(lock.createdAt),
    ExpirationDate: lock.expiresAt === null ? null : formatTime(lock.expiresAt),
  };
}

/** @throws WireFormatError */
export function parseVaultLock(value: unknown): VaultLock {
  const fields = new JsonFields(value, "a vault lock");
  const state = fields.text("State");
  if (state !== "InProgress" && state !== "Locked") throw fields.fault("State", "InProgress or Locked");
  return {
    policy: fields.text("Policy"),
    state,
    createdAt: fields.time("CreationDate"),
    expiresAt: fields.timeOrNull("ExpirationDate"),
  };
}

/** The document in the body of Initiate Vault Lock, as text; takes `Policy` or `policy`. @throws WireError */
export function parseLockPolicy(value: unknown): string {
  const fields = new JsonFields(value, "a lock policy");
  const policy = fields.value("Policy") ?? fields.value("policy");
  if (policy === undefined || policy === null || policy === "") throw missingParameter("Policy");
  if (typeof policy !== "string" || jsonOrUndefined(policy) === undefined) {
    throw invalidParameter("Policy is not a JSON document as text");
  }
  return policy;
}

export function formatLockInitiated(path: string, lockId: string): HeaderRecord {
  return { location: path, "x-cas-lock-id": lockId };
}
