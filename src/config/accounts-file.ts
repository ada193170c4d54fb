/**
 * The file of `casfs serve --accounts`: whose keys a service with several accounts knows.
 *
 * TOML, or JSON when its name ends in `.json`; one table of the list `account` for each key:
 *
 *     [[account]]
 *     app-id = 1250000001
 *     secret-id = "AKID..."
 *     secret-key = "..."
 *     uin = 100000000001      # the account's number in policies, when it is not the app id
 *     sub-uin = 100000000002  # the user of the account who has this key; without it, the account's owner
 *
 * Several entries with one app id are several keys of that account. The app id `-` is the account that a service has
 * without this file, and keeps with it. Never: puts anything of the file but numbers and secret ids into an error.
 */

import { readFile } from "node:fs/promises";
import { parse as parseToml } from "smol-toml";
import { z } from "zod";
import { UsageError } from "../domain/errors.js";
import { jsonOrUndefined } from "../lib/json-text.js";
import { refuseWorldReadable } from "./credentials.js";

/** One access key; the same as an `Account` of the server. */
export interface AccountEntry {
  readonly appId: string;
  readonly secretId: string;
  readonly secretKey: string;
  readonly uin?: string | undefined;
  readonly subUin?: string | undefined;
}

const number = z.union([z.number().int().nonnegative().transform(String), z.string().regex(/^\d{1,20}$/)]);

const entrySchema = z.strictObject({
  "app-id": z.union([z.literal("-"), number]),
  // What would break the fields of an Authorization header (cas-api section 3.1) cannot be a secret id.
  "secret-id": z.string().regex(/^[\x21-\x25\x27-\x7e]+$/),
  "secret-key": z.string().min(1),
  uin: number.optional(),
  "sub-uin": number.optional(),
});

const fileSchema = z.strictObject({ account: z.array(entrySchema).min(1) });

/**
 * The keys in the file at `path`, to be used beside those in `known`.
 *
 * @throws UsageError if the file cannot be read, is readable by everybody, is not as above, or contradicts `known`.
 */
export async function readAccounts(path: string, known: readonly AccountEntry[]): Promise<AccountEntry[]> {
  const content = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new UsageError(`Cannot read ${path}`, { cause });
  });
  await refuseWorldReadable(path);
  const parsed = fileSchema.safeParse(path.endsWith(".json") ? jsonOrUndefined(content) : tomlOrUndefined(content));
  if (!parsed.success) throw unusable(path, parsed.error);
  const entries = parsed.data.account.map(toEntry);
  const conflict = conflictOf([...known, ...entries]);
  if (conflict !== undefined) throw new UsageError(`Cannot use ${path}: ${conflict}`);
  return entries;
}

function toEntry(entry: z.output<typeof entrySchema>): AccountEntry {
  return {
    appId: entry["app-id"],
    secretId: entry["secret-id"],
    secretKey: entry["secret-key"],
    uin: entry.uin,
    subUin: entry["sub-uin"],
  };
}

/** The parser's message would quote the lines around a mistake, and with them perhaps a key. */
function tomlOrUndefined(content: string): unknown {
  try {
    return parseToml(content);
  } catch {
    return undefined;
  }
}

/** Names the place, not the value. */
function unusable(path: string, error: z.ZodError): UsageError {
  const [issue] = error.issues;
  const place = issue === undefined || issue.path.length === 0 ? "" : `, ${issue.path.join(".")}`;
  return new UsageError(`Cannot use ${path}${place}: it is not a file of accounts`, {
    hint: 'It has a list "account"; each entry has app-id, secret-id and secret-key, and may have uin and sub-uin',
  });
}

/** What would make it unclear whose key is meant, or whom a policy names by a number. */
function conflictOf(entries: readonly AccountEntry[]): string | undefined {
  const secretIds = new Set<string>();
  const ownerOf = new Map<string, string>();
  const uinOf = new Map<string, string | undefined>();
  for (const { appId, secretId, uin } of entries) {
    if (secretIds.has(secretId)) return `the secret id ${secretId} is used twice`;
    secretIds.add(secretId);
    if (uinOf.has(appId) && uinOf.get(appId) !== uin) return `account ${appId} has different uins`;
    uinOf.set(appId, uin);
    for (const name of uin === undefined ? [appId] : [appId, uin]) {
      const owner = ownerOf.get(name);
      if (owner !== undefined && owner !== appId) return `${name} names both account ${owner} and account ${appId}`;
      ownerOf.set(name, appId);
    }
  }
  return undefined;
}
