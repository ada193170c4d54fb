/** A user of cascmd is at home at once: what `cascmd config` has saved is the last place where casfs looks. */

import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadMountConfig, loadServiceConfig } from "../../src/config/load-config.js";

const saved = `# written by cascmd
[Other]
secretkey = not this one

[CASCredentials]
endpoint = cas.ap-chengdu.myqcloud.com
AppId = 1250000000
secretid = AKIDsaved
secretkey = hush = hush
`;
const service = {
  kind: "remote",
  endpoint: "http://cas.ap-chengdu.myqcloud.com",
  credentials: { appId: "1250000000", secretId: "AKIDsaved", secretKey: "hush = hush" },
};

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "casfs-cascmd-"));
});
afterEach(() => rm(home, { recursive: true }));

const path = () => join(home, ".cascmd_credentials");
const sources = (flags: Record<string, string> = {}, environment: Record<string, string> = {}) => ({
  flags,
  environment,
  home,
  currentDirectory: "/",
});

async function save(content = saved, mode = 0o600): Promise<void> {
  await writeFile(path(), content);
  await chmod(path(), mode);
}

test("it is used by commands and mounts when nothing else says where the service is", async () => {
  await save();
  expect((await loadServiceConfig(sources())).service).toEqual(service);
  expect((await loadMountConfig(sources())).service).toEqual(service);
});

test("everything else comes first: a local directory, another endpoint, another key", async () => {
  await save();
  expect((await loadServiceConfig(sources({ local: "/vaults" }))).service).toEqual({
    kind: "local",
    directory: "/vaults",
  });
  const other = { CASFS_ENDPOINT: "http://127.0.0.1:8674", CASFS_SECRET_ID: "me", CASFS_SECRET_KEY: "mine" };
  expect((await loadServiceConfig(sources({}, other))).service).toMatchObject({
    endpoint: "http://127.0.0.1:8674",
    credentials: { appId: "-", secretId: "me", secretKey: "mine" },
  });
  const key = { CASFS_SECRET_ID: "me", CASFS_SECRET_KEY: "mine", CASFS_APP_ID: "-" };
  expect((await loadServiceConfig(sources({}, key))).service).toMatchObject({
    endpoint: service.endpoint,
    credentials: { appId: "-", secretId: "me", secretKey: "mine" },
  });
});

test("its key goes to the service it was saved for, and to no other", async () => {
  await save();
  expect((await loadServiceConfig(sources({ endpoint: service.endpoint }))).service).toEqual(service);
  await expect(loadServiceConfig(sources({ endpoint: "http://127.0.0.1:1" }))).rejects.toThrow("without an access key");
});

test("a file that everybody can read is refused with the command that repairs it", async () => {
  await save(saved, 0o644);
  await expect(loadServiceConfig(sources())).rejects.toMatchObject({ hint: `Run \`chmod 600 ${path()}\`` });
  expect((await loadServiceConfig(sources({ local: "/vaults" }))).service.kind).toBe("local");
});

test("an incomplete file is refused, and what is missing is named without repeating the rest", async () => {
  await save(saved.replace(/secretid.*\n/, ""));
  const failure = await loadServiceConfig(sources()).catch((error: unknown) => error as Error);
  expect(String(failure)).toContain("it has no secretid in the section [CASCredentials]");
  expect(String(failure)).not.toContain("hush");
});

test("without the file, the service of this machine is used", async () => {
  expect((await loadServiceConfig(sources())).service).toEqual({
    kind: "local",
    directory: join(home, ".local/share/casfs"),
  });
});
