/** Whose keys the service knows. One account so far; the lookup is an interface so that there can be more. */

export interface Account {
  /** The account number that stands in paths and resource names. */
  readonly appId: string;
  readonly secretId: string;
  readonly secretKey: string;
}

export interface AccountDirectory {
  /** The account that the key belongs to; undefined for an unknown key. */
  bySecretId(secretId: string): Account | undefined;
}

export function singleAccount(account: Account): AccountDirectory {
  return { bySecretId: (secretId) => (secretId === account.secretId ? account : undefined) };
}
