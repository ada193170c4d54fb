/** Who sent a request (cas-api sections 3.4, 3.5). What they may do is for `access-control.ts` to say. */

import type { Clock } from "../../domain/time.js";
import { WireError } from "../../protocol/error-wire.js";
import { type ReceivedRequest, verifySignature } from "../../protocol/signature.js";
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
