import { describe, expect, test } from "vitest";
import { loadServeConfig } from "../../src/config/load-config.js";

const load = (given: {
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly environment?: Readonly<Record<string, string>>;
}) => loadServeConfig({ flags: {}, environment: {}, home: "/home/none", currentDirectory: "/here", ...given });
const key = { CASFS_OBJECT_STORE_ID: "ID", CASFS_OBJECT_STORE_KEY: "hush-hush" };

describe("--object-store", () => {
  test("is not there by default", async () => {
    expect((await load({})).objectStore).toBeUndefined();
  });

  test("a path is a directory, relative to where it was written", async () => {
    expect((await load({ flags: { objectStore: "objects" } })).objectStore).toEqual({
      kind: "directory",
      directory: "/here/objects",
    });
  });

  test("a URL is an S3 endpoint, whose key comes from the environment", async () => {
    const config = await load({ flags: { objectStore: "http://127.0.0.1:9000" }, environment: key });
    expect(config.objectStore).toEqual({
      kind: "s3",
      endpoint: "http://127.0.0.1:9000",
      region: "us-east-1",
      keyId: "ID",
      key: "hush-hush",
    });
  });

  test("an S3 endpoint without its key, or with a path, is refused", async () => {
    const flags = { objectStore: "https://s3.example.com" };
    await expect(load({ flags })).rejects.toMatchObject({ hint: expect.stringContaining("CASFS_OBJECT_STORE_KEY") });
    const withPath = { objectStore: "https://s3.example.com/bucket" };
    await expect(load({ flags: withPath, environment: key })).rejects.toThrow("an endpoint has no path");
  });
});

describe("--notify-hosts", () => {
  test("is this machine by default, and a list otherwise", async () => {
    expect((await load({})).notifyHosts).toEqual(["127.0.0.0/8", "[::1]", "localhost"]);
    const flags = { notifyHosts: "*.example.com, 10.0.0.0/8:8080," };
    expect((await load({ flags })).notifyHosts).toEqual(["*.example.com", "10.0.0.0/8:8080"]);
  });

  test("a host that cannot be one is refused at the start", async () => {
    await expect(load({ flags: { notifyHosts: "http://example.com/" } })).rejects.toThrow("HOST[:PORT]");
  });
});
