import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startConfiguredServer } from "../../src/app/server-app.js";
import type { ServeConfig } from "../../src/config/config.js";
import { loadServeConfig } from "../../src/config/load-config.js";
import { UsageError } from "../../src/domain/errors.js";
import { CasClient } from "../server/cas-client.js";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "casfs-serve-accounts-"));
});
afterEach(() => rm(directory, { recursive: true }));

function configured(accounts: string): Promise<ServeConfig> {
  const flags = { data: "data", listen: "127.0.0.1:0", accounts };
  return loadServeConfig({ flags, environment: {}, home: directory, currentDirectory: directory });
}

const ignore = () => undefined;

test("--accounts adds keys to that of the service itself, which keeps its vaults", async () => {
  const accounts = '[[account]]\napp-id = 1250000005\nsecret-id = "AKIDfive"\nsecret-key = "five"\n';
  await writeFile(join(directory, "accounts.toml"), accounts, { mode: 0o600 });
  const running = await startConfiguredServer(await configured("accounts.toml"), ignore);
  const client = new CasClient(running.port, () => Math.floor(Date.now() / 1000));
  try {
    const own = JSON.parse(await readFile(join(directory, "data", "credentials.json"), "utf8"));
    const five = { secretId: "AKIDfive", secretKey: "five" };
    expect((await client.call("PUT", "/-/vaults/mine", own)).headers.location).toBe("/-/vaults/mine");
    expect((await client.call("PUT", "/-/vaults/theirs", five)).headers.location).toBe("/1250000005/vaults/theirs");
    expect((await client.call("GET", "/1250000005/vaults/theirs", five)).status).toBe(200);
    expect((await client.call("GET", "/-/vaults/mine", five)).status).toBe(404);
    expect((await client.call("GET", "/1250000005/vaults/theirs", own)).status).toBe(403);
  } finally {
    client.close();
    await running.close();
  }
});

test("a service does not start with accounts that it cannot read", async () => {
  const path = join(directory, "accounts.toml");
  await expect(startConfiguredServer(await configured(path), ignore)).rejects.toBeInstanceOf(UsageError);
  await writeFile(path, '[[account]]\napp-id = 5\nsecret-id = "x"\nsecret-key = "hush-hush"\n', { mode: 0o644 });
  const refusal = startConfiguredServer(await configured(path), ignore);
  await expect(refusal).rejects.toMatchObject({ hint: expect.stringContaining("chmod 600") });
});
