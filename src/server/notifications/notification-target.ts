/**
 * Where a notification goes: the addresses of its host that the operator allows (cas-api section 8.2).
 *
 * Relies on: whoever connects takes one of these addresses and does not resolve the name again.
 */

import { lookup as systemLookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { HostAllowance } from "../../lib/host-allowance.js";

export interface ResolvedAddress {
  readonly address: string;
  readonly family: number;
}

export interface TargetOptions {
  readonly allowance: HostAllowance;
  /** Resolves a name; without it the system does. */
  readonly lookup?: ((hostname: string) => Promise<readonly ResolvedAddress[]>) | undefined;
}

/** The operator does not let notifications go to that host. */
export class TargetRefusedError extends Error {
  override readonly name = "TargetRefusedError";
}

/** @throws TargetRefusedError when none of the host's addresses is allowed. */
export async function permittedAddresses(url: URL, options: TargetOptions): Promise<ResolvedAddress[]> {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
  const permitted = (await resolve(host, options)).filter(({ address }) =>
    options.allowance.permits({ host, port, address }),
  );
  if (permitted.length === 0) throw new TargetRefusedError("The host is not allowed");
  return permitted;
}

async function resolve(host: string, { lookup }: TargetOptions): Promise<readonly ResolvedAddress[]> {
  const family = isIP(host);
  if (family !== 0) return [{ address: host, family }];
  return lookup === undefined ? systemLookup(host, { all: true }) : lookup(host);
}
