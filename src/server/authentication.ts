/** Who sent a request, and whether they may name the account in its path (cas-api sections 1, 3.4, 3.5). */

import type { Clock } from "../domain/time.js";
import { WireError } from "../protocol/error-wire.js";
import type { AccountText } from "../protocol/routes.js";
import { type ReceivedRequest, verifySignature } from "../protocol/signature.js";
import type { Account, AccountDirectory } from "./accounts.js";

export interface AuthenticationOptions {
  readonly clock: Clock;
  readonly clockSkewMs: number;
  /** Takes only the canonical form of a signature. */
  readonly strict: boolean;
}

export class Authentication {
  readonly #accounts: AccountDirectory;
  readonly #options: AuthenticationOptions;

  constructor(accounts: AccountDirectory, options: AuthenticationOptions) {
    this.#accounts = accounts;
    this.#options = options;
  }

  /**
   * The account that signed `request`; ask when its head has arrived, because a long upload may outlive its signature.
   *
   * @throws WireError as section 3.4 says.
   */
  authenticate(request: ReceivedRequest): Account {
    const verification = verifySignature(request, {
      secretKeyOf: (secretId) => this.#accounts.bySecretId(secretId)?.secretKey,
      now: this.#options.clock.now(),
      skewSeconds: this.#options.clockSkewMs / 1000,
      strict: this.#options.strict,
    });
    if (!verification.ok) throw new WireError(verification.code, verification.message);
    const account = this.#accounts.bySecretId(verification.secretId);
    if (account === undefined) throw new WireError("UnrecognizedClientException", "The access key id is unknown");
    return account;
  }
}

/** `-` and the caller's own number are the same; others' vaults are out of reach. @throws WireError */
export function checkAccount(caller: Account, named: AccountText): void {
  if (named === "-" || named === caller.appId) return;
  throw new WireError("AccessDeniedException", `The key does not belong to account ${named}`);
}
