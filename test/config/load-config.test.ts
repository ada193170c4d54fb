import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { mountShape, serveShape } from "../../src/config/config.js";
import { type ConfigSources, loadMountConfig, loadServeConfig } from "../../src/config/load-config.js";
import { optionsOf } from "../../src/config/setting.js";
import { UsageError } from "../../src/domain/errors.js";

const key = { CASFS_SECRET_ID: "AKID", CASFS_SECRET_KEY: "hush-hush" };
let home: string;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "casfs-config-"));
});
afterEach(() => rm(home, { recursive: true }));

function sources(given: Partial<ConfigSources> = {}): ConfigSources {
  return { flags: {}, environment: {}, home, currentDirectory: "/here", ...given };
}

async function configFile(content: string, { mode = 0o600 } = {}): Promise<string> {
  await mkdir(join(home, ".config/casfs"), { recursive: true });
  const path = join(home, ".config/casfs/casfs.toml");
  await writeFile(path, content, { mode });
  return path;
}

test("--partial-recall is refused with the driver fuse-native, whose reads cannot wait", async () => {
  const flags = { partialRecall: "16MiB" };
  expect(await loadMountConfig(sources({ flags }))).toMatchObject({ partialRecall: 16 * 2 ** 20 });
  const both = loadMountConfig(sources({ flags: { ...flags, driver: "fuse-native" } }));
  await expect(both).rejects.toThrow("Cannot use --partial-recall with the driver fuse-native");
});

describe("what nobody chose", () => {
  test("a mount without options keeps its data below the home directory and starts its own service", async () => {
    const config = await loadMountConfig(sources());
    expect(config).toMatchObject({
      service: { kind: "local", directory: join(home, ".local/share/casfs") },
      onCold: "block",
      tier: "standard",
      commit: "staged",
      settle: 2000,
      multipartThreshold: 104_857_600,
      partSize: 16_777_216,
      inventoryMaxAge: 86_400_000,
      recallAhead: 0,
      recallKeep: 172_800_000,
      stallTimeout: 60_000,
      umask: 0o022,
      readOnly: false,
      driver: "kernel",
    });
    expect(config.maxWait).toBeUndefined();
    expect(config.stagingSize, "no limit but --keep-free").toBeUndefined();
    expect(config.stateDirectory.startsWith(join(home, ".local/state/casfs/local-casfs-"))).toBe(true);
  });

  test("the XDG variables move the places, a relative one is ignored", async () => {
    const environment = { XDG_DATA_HOME: "/data", XDG_STATE_HOME: "relative" };
    const config = await loadMountConfig(sources({ environment }));
    expect(config.service).toEqual({ kind: "local", directory: "/data/casfs" });
    expect(config.stateDirectory.startsWith(join(home, ".local/state/casfs/"))).toBe(true);
  });

  test("every default of a mount and of a service is acceptable, and every option has a help text", async () => {
    await loadServeConfig(sources());
    for (const option of [...optionsOf(mountShape), ...optionsOf(serveShape)])
      expect(option.help, option.name).not.toBe("");
  });
});

describe("precedence", () => {
  test("a flag beats a variable, a variable beats the file, the file beats the default", async () => {
    await configFile('settle = "3s"\non-cold = "deny"\nparallel = 7\n');
    const environment = { CASFS_SETTLE: "4s", CASFS_ON_COLD: "eagain" };
    const config = await loadMountConfig(sources({ flags: { settle: "5s", onCold: undefined }, environment }));
    expect(config).toMatchObject({ settle: 5000, onCold: "eagain", parallel: 7 });
  });

  test("a local directory on the command line beats an endpoint of the environment", async () => {
    const environment = { CASFS_ENDPOINT: "http://cas.example.com" };
    const config = await loadMountConfig(sources({ flags: { local: "vaults" }, environment }));
    expect(config.service).toEqual({ kind: "local", directory: "/here/vaults" });
  });

  test("an endpoint and a local directory in one place are refused", async () => {
    const flags = { local: "/vaults", endpoint: "http://cas.example.com" };
    await expect(loadMountConfig(sources({ flags }))).rejects.toThrow("both --endpoint and --local");
  });

  test("paths in the file are relative to the file, ~ is the home directory", async () => {
    const path = await configFile('local = "vaults"\nstate = "~/state"\n');
    const config = await loadMountConfig(sources());
    expect(config.service).toEqual({ kind: "local", directory: join(path, "../vaults") });
    expect(config.stateDirectory).toBe(join(home, "state"));
  });
});

describe("mistakes", () => {
  test.each([
    [{ flags: { setle: "2s" } }, "--setle", "Did you mean settle?"],
    [{ environment: { CASFS_SETLE: "2s" } }, "CASFS_SETLE", "Did you mean CASFS_SETTLE?"],
  ])("an unknown name in %j is refused and the nearest one is named", async (given, name, hint) => {
    const failure = await loadMountConfig(sources(given)).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(UsageError);
    expect(failure).toMatchObject({ message: expect.stringContaining(name), hint });
  });

  test("an unknown name in the file is refused and the nearest one is named", async () => {
    const path = await configFile('cach-size = "1GiB"\n');
    await expect(loadMountConfig(sources())).rejects.toMatchObject({
      message: expect.stringContaining(`cach-size in ${path}`),
      hint: "Did you mean cache-size?",
    });
  });

  test("a variable that resembles no option is left to whom it belongs", async () => {
    await loadMountConfig(sources({ environment: { CASFS_SOMETHING_ELSE_ENTIRELY: "1" } }));
  });

  test.each([
    ["settle", "2"],
    ["cacheSize", "16M"],
    ["stagingSize", "512KiB"],
    ["stallTimeout", "60"],
    ["onCold", "blok"],
    ["partSize", "48MiB"],
    ["multipartThreshold", "5GiB"],
    ["parallel", "0"],
    ["umask", "9"],
    ["vault", "a/b"],
    ["endpoint", "cas.example.com"],
    ["endpoint", "http://user:pass@example.com"],
    ["readOnly", "maybe"],
    ["state", ""],
  ])("%s = %j is refused with the place where it was given", async (name, value) => {
    const failure = await loadMountConfig(sources({ flags: { [name]: value } })).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(UsageError);
    expect((failure as UsageError).message).toContain("--");
  });

  test("a file that was named and is not there is refused", async () => {
    await expect(loadMountConfig(sources({ flags: { config: "/nowhere/casfs.toml" } }))).rejects.toThrow(UsageError);
  });
});

describe("access keys", () => {
  const environment = { ...key, CASFS_ENDPOINT: "http://127.0.0.1:8674/", CASFS_APP_ID: "1250000000" };

  test("an endpoint is used with the key of the environment", async () => {
    const { service, stateDirectory } = await loadMountConfig(sources({ environment }));
    expect(service).toEqual({
      kind: "remote",
      endpoint: "http://127.0.0.1:8674",
      credentials: { appId: "1250000000", secretId: "AKID", secretKey: "hush-hush" },
    });
    expect(stateDirectory).toMatch(/127\.0\.0\.1_8674-[0-9a-f]{8}$/);
  });

  test("a new key of the same account keeps the state directory, another account has another", async () => {
    const directoryFor = async (more: object) =>
      (await loadMountConfig(sources({ environment: { ...environment, ...more } }))).stateDirectory;
    expect(await directoryFor({ CASFS_SECRET_ID: "new" })).toBe(await directoryFor({}));
    expect(await directoryFor({ CASFS_APP_ID: "1250000001" })).not.toBe(await directoryFor({}));
  });

  test("an endpoint without a key is refused, and what is missing is named", async () => {
    const failure = loadMountConfig(sources({ environment: { ...environment, CASFS_SECRET_KEY: "" } }));
    await expect(failure).rejects.toMatchObject({ hint: expect.stringContaining("CASFS_SECRET_KEY") });
  });

  test("a key in a file that everybody can read is refused, also in the table of the service", async () => {
    await configFile('[serve]\nsecret-key = "hush-hush"\n', { mode: 0o644 });
    await expect(loadMountConfig(sources())).rejects.toMatchObject({ hint: expect.stringContaining("chmod 600") });
  });

  test("a file without a key may be readable by everybody", async () => {
    await configFile('settle = "9s"\n', { mode: 0o644 });
    expect((await loadMountConfig(sources())).settle).toBe(9000);
  });

  test("no message repeats a secret, whatever is wrong with it", async () => {
    const wrongs: ConfigSources[] = [
      sources({ flags: { secretKey: "hush\0hush" } }),
      sources({ flags: { secretId: "AKID", secretKey: "hush-hush", endpoint: "nonsense" } }),
    ];
    for (const wrong of wrongs) {
      const failure = await loadMountConfig(wrong).catch((error: Error) => error);
      expect(String(failure)).not.toContain("hush");
    }
    await configFile('secret-key = "hush-hush" nonsense\n');
    const failure = (await loadMountConfig(sources()).catch((error: unknown) => error)) as UsageError;
    expect(failure).toBeInstanceOf(UsageError);
    expect(`${failure.message} ${failure.hint} ${String(failure.cause)}`).not.toContain("hush");
  });
});

describe("the local service", () => {
  test("its options stand in the table serve of the file", async () => {
    await configFile('settle = "9s"\n[serve]\nlisten = "[::1]:0"\nretrieval = "bulk=1m"\n');
    const config = await loadServeConfig(sources());
    expect(config).toMatchObject({
      listen: { host: "::1", port: 0 },
      retrieval: { expedited: 1000, standard: 2000, bulk: 60_000, inventory: 1000 },
      outputLifetime: 86_400_000,
      strictSignature: false,
      credentials: undefined,
    });
  });

  test("half a key is refused", async () => {
    await expect(loadServeConfig(sources({ flags: { secretId: "AKID" } }))).rejects.toThrow("only a secret id");
  });

  test.each(["slow=1s", "bulk", "bulk=fast"])("retrieval times %j are refused", async (retrieval) => {
    await expect(loadServeConfig(sources({ flags: { retrieval } }))).rejects.toThrow(UsageError);
  });
});
