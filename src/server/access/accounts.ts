/**
 * Whose keys the service knows.
 *
 * Secret ids are public and looked up as they are; what is compared with secrets are signatures, in constant time
 * (`verifySignature`).
 */

/** One access key and the account that it belongs to. An account may have several keys, each with the same numbers. */
export interface Account {
  /** The account number that stands in paths and resource names; `-` is an account that cannot be named. */
  readonly appId: string;
  readonly secretId: string;
  readonly secretKey: string;
  /** The account's number in the access management, when policies shall name it by another one than the app id. */
  readonly uin?: string | undefined;
  /** The user of the account whose key this is; without it, the key is the account owner's. */
  readonly subUin?: string | undefined;
}

export interface AccountDirectory {
  /** The account that the key belongs to; undefined for an unknown key. */
  bySecretId(secretId: string): Account | undefined;
}

/** @throws RangeError when two keys have the same secret id. */
export function accountDirectory(accounts: readonly Account[]): AccountDirectory {
  const bySecretId = new Map(accounts.map((account) => [account.secretId, account]));
  if (bySecretId.size < accounts.length) throw new RangeError("Cannot use a secret id for two keys");
  return { bySecretId: (secretId) => bySecretId.get(secretId) };
}
