/** The first question to the archive service. A new catalog needs its answer; an old one is shown without. */

import type { Catalog } from "../catalog/catalog.js";
import { describeError, ServiceError, UsageError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ServiceStack } from "./service-stack.js";
import type { VaultWatch } from "./vault-watch.js";

const answerTimeoutMs = 10_000;

/** Takes the vaults of the service into the catalog. @throws UsageError when there is nothing to show without it. */
export async function firstContact(
  stack: Pick<ServiceStack, "impatient" | "endpoint">,
  { catalog, watch, observer }: { readonly catalog: Catalog; readonly watch: VaultWatch; readonly observer: Observer },
): Promise<void> {
  try {
    await watch.discover(stack.impatient, { signal: AbortSignal.timeout(answerTimeoutMs) });
  } catch (error) {
    if (isDenied(error) || catalog.vaults().length === 0) throw cannotStart(stack.endpoint, error);
    observer({
      type: "warning",
      message: `The service at ${stack.endpoint} does not answer: showing what the catalog knows; uploads and recalls wait`,
    });
  }
}

function cannotStart(endpoint: string, error: unknown): UsageError {
  const hint = isDenied(error)
    ? "Check --secret-id and CASFS_SECRET_KEY, and the clock of this machine"
    : "Check --endpoint and that the service is running";
  return new UsageError(`Cannot mount ${endpoint}: ${describeError(error)}`, { cause: error, hint });
}

function isDenied(error: unknown): boolean {
  return error instanceof ServiceError && error.fault === "denied";
}
