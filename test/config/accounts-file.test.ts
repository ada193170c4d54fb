import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readAccounts } from "../../src/config/accounts-file.js";
import { UsageError } from "../../src/domain/errors.js";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "casfs-accounts-"));
});
afterEach(() => rm(directory, { recursive: true }));

async function write(content: string, name = "accounts.toml"): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, content, { mode: 0o600 });
  return path;
}

const own = { appId: "-", secretId: "local", secretKey: "own" };

test("a TOML file lists keys of accounts and of their users, numbers with or without quotes", async () => {
  const path = await write(`
    [[account]]
    app-id = 1250000001
    secret-id = "AKIDone"
    secret-key = "first"
    uin = "100000000001"

    [[account]]
    app-id = "1250000001"
    secret-id = "AKIDtwo"
    secret-key = "second/with+symbols=="
    uin = 100000000001
    sub-uin = 100000000002
  `);
  expect(await readAccounts(path, [own])).toEqual([
    { appId: "1250000001", secretId: "AKIDone", secretKey: "first", uin: "100000000001" },
    {
      appId: "1250000001",
      secretId: "AKIDtwo",
      secretKey: "second/with+symbols==",
      uin: "100000000001",
      subUin: "100000000002",
    },
  ]);
});

test("a name that ends in .json is read as JSON", async () => {
  const account = { "app-id": "7", "secret-id": "x", "secret-key": "y" };
  const path = await write(JSON.stringify({ account: [account] }), "accounts.json");
  expect(await readAccounts(path, [])).toEqual([{ appId: "7", secretId: "x", secretKey: "y" }]);
});

test("a file that everybody can read is refused", async () => {
  const path = await write('[[account]]\napp-id = 7\nsecret-id = "x"\nsecret-key = "hush-hush"\n');
  await chmod(path, 0o604);
  await expect(readAccounts(path, [])).rejects.toMatchObject({ hint: expect.stringContaining("chmod 600") });
});

const entry = (lines: string) => `[[account]]\nsecret-key = "hush-hush"\n${lines}\n`;

describe("without repeating a key it refuses", () => {
  test.each([
    { what: "what is no TOML", content: '[[account]]\nsecret-key = "hush-hush' },
    { what: "an empty list", content: "account = []" },
    { what: "an app id that is no number", content: entry('app-id = "me"\nsecret-id = "a"') },
    { what: "a missing secret id", content: entry("app-id = 7") },
    { what: "a secret id with &", content: entry('app-id = 7\nsecret-id = "a&b"') },
    { what: "a misspelt name", content: entry('app-id = 7\nsecret-id = "a"\nsub-uni = 8') },
    { what: "a secret id used twice", content: entry('app-id = 7\nsecret-id = "a"').repeat(2) },
    { what: "the secret id of the service's own key", content: entry('app-id = 7\nsecret-id = "local"') },
    {
      what: "a uin that is another's app id",
      content: entry('app-id = 7\nsecret-id = "a"\nuin = 8') + entry('app-id = 8\nsecret-id = "b"'),
    },
    {
      what: "two uins of one account",
      content: entry('app-id = 7\nsecret-id = "a"\nuin = 8') + entry('app-id = 7\nsecret-id = "b"\nuin = 9'),
    },
  ])("$what", async ({ content }) => {
    const path = await write(content);
    const failure = (await readAccounts(path, [own]).catch((error: unknown) => error)) as UsageError;
    expect(failure).toBeInstanceOf(UsageError);
    expect(failure.message).toContain(path);
    expect(`${failure.message} ${failure.hint} ${String(failure.cause)}`).not.toContain("hush");
  });

  test("a file that is not there", async () => {
    await expect(readAccounts(join(directory, "none"), [])).rejects.toBeInstanceOf(UsageError);
  });
});
