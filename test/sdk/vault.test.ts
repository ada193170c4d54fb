import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { CASClientError, CASServerError, type Job, UploadArchiveError, Vault } from "../../src/sdk/index.js";
import { hour, startMs } from "../server/local-server.js";
import { testBytes } from "../support/test-bytes.js";
import { bytesOf, collected, ScriptedServer, SdkServer } from "./sdk-fixture.js";

let directory: string;
let smallFile: string;
let largeFile: string;
const large = testBytes(33 * MIB + 5);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "casfs-sdk-"));
  smallFile = join(directory, "small");
  largeFile = join(directory, "large");
  await writeFile(smallFile, testBytes(1000));
  await writeFile(largeFile, large);
});

afterAll(() => rm(directory, { recursive: true, force: true }));

/** The bytes of an archive, by way of a job. */
async function stored(sdk: SdkServer, vault: Vault, archiveId: string): Promise<Buffer> {
  const job = await vault.retrieveArchive(archiveId, { tier: "Expedited" });
  await sdk.pass(hour);
  return bytesOf((await job.output()).body);
}

describe("a vault", () => {
  test("is created, found by its name, listed, and deleted", async () => {
    await using sdk = await SdkServer.start();
    const vault = await Vault.create(sdk.api, "photos");
    expect(vault).toMatchObject({
      name: "photos",
      qcs: expect.stringMatching(/vaults\/photos$/),
      creationDate: new Date(startMs),
      lastInventoryDate: null,
      numberOfArchives: 0,
      size: 0,
    });
    expect((await Vault.create(sdk.api, "photos")).creationDate).toEqual(new Date(startMs));
    expect((await Vault.getVaultByName(sdk.api, "photos")).qcs).toBe(vault.qcs);
    expect((await collected(Vault.listAllVaults(sdk.api))).map(({ name }) => name)).toEqual(["photos"]);
    expect((await vault.delete()).status).toBe(204);
    await expect(Vault.getVaultByName(sdk.api, "photos")).rejects.toThrow("Vault not exists: photos");
  });

  test("is deleted by its name, unless it is not there or not empty", async () => {
    await using sdk = await SdkServer.start();
    const vault = await sdk.vault();
    const archiveId = await vault.uploadArchive(testBytes(5));
    await expect(Vault.deleteVaultByName(sdk.api, "photos")).rejects.toMatchObject({ code: "BadRequest" });
    await vault.deleteArchive(archiveId);
    expect((await Vault.deleteVaultByName(sdk.api, "photos")).status).toBe(204);
    const missing = await Vault.deleteVaultByName(sdk.api, "photos").catch((reason: unknown) => reason);
    expect(missing).toBeInstanceOf(CASClientError);
    expect((missing as Error).message).toBe("Vault not exists: photos");
    expect((missing as Error).cause).toBeInstanceOf(CASServerError);
  });

  test("has the counts of its last inventory", async () => {
    await using sdk = await SdkServer.start();
    const vault = await sdk.vault();
    await vault.uploadArchive(testBytes(1000));
    await vault.initiateRetrieveInventory();
    await sdk.pass(4 * hour);
    const found = await Vault.getVaultByName(sdk.api, "photos");
    expect(found).toMatchObject({ numberOfArchives: 1, size: 1000 });
    expect(found.lastInventoryDate).toBeInstanceOf(Date);
  });
});

describe("uploadArchive", () => {
  test("takes a file, bytes, a Node stream and a generator", async () => {
    await using sdk = await SdkServer.start();
    const vault = await sdk.vault();
    const content = testBytes(1000);
    const generator = async function* () {
      yield content.subarray(0, 1);
      yield content.subarray(1);
    };
    for (const source of [smallFile, content, Readable.from([content]), generator()]) {
      const archiveId = await vault.uploadArchive(source, { description: "Grüße" });
      expect(archiveId).toHaveLength(128);
      expect((await stored(sdk, vault, archiveId)).equals(content)).toBe(true);
    }
    const entries = await collected((await finishedInventory(sdk, vault)).inventory());
    expect(entries.map(({ archiveDescription }) => archiveDescription)).toEqual(Array(4).fill("Grüße"));
  });

  test("sends a file above the threshold in parts and tells how far it is", async () => {
    await using sdk = await SdkServer.start();
    const vault = await sdk.vault();
    const ids: string[] = [];
    const seen: number[] = [];
    const archiveId = await vault.uploadArchive(largeFile, {
      multipartThreshold: 16 * MIB,
      parallel: 2,
      onInitiated: (uploadId) => void ids.push(uploadId),
      onProgress: ({ sentBytes, totalBytes }) => {
        expect(totalBytes).toBe(large.length);
        seen.push(sentBytes);
      },
    });
    expect(ids).toHaveLength(1);
    expect(seen.at(-1)).toBe(large.length);
    expect((await stored(sdk, vault, archiveId)).equals(large)).toBe(true);
  });

  test("sends a stream that is longer than a part in parts", async () => {
    await using sdk = await SdkServer.start();
    const vault = await sdk.vault();
    const archiveId = await vault.uploadArchive(Readable.from([large]));
    expect((await stored(sdk, vault, archiveId)).equals(large)).toBe(true);
  });

  test("refuses empty files, bytes and streams", async () => {
    await using sdk = await SdkServer.start();
    const vault = await sdk.vault();
    const emptyFile = join(directory, "empty");
    await writeFile(emptyFile, "");
    const refusal = "CAS does not support zero byte archive.";
    await expect(vault.uploadArchive(emptyFile)).rejects.toThrow(new RangeError(refusal));
    await expect(vault.uploadArchive(Buffer.alloc(0))).rejects.toThrow(new RangeError(refusal));
    await expect(vault.uploadArchive(Readable.from([]))).rejects.toThrow(new RangeError(refusal));
    await expect(vault.uploadArchive(join(directory, "missing"))).rejects.toThrow(CASClientError);
  });

  test("a refused single upload is a CASServerError", async () => {
    await using sdk = await SdkServer.start();
    const vault = await sdk.vault();
    await vault.delete();
    await expect(vault.uploadArchive(smallFile)).rejects.toMatchObject({ name: "CASServerError", status: 404 });
  });

  test("parts that the service refuses end in an UploadArchiveError that names the upload to resume", async () => {
    await using scripted = await ScriptedServer.start((request, response) => {
      if (request.method === "POST") response.writeHead(201, { "x-cas-multipart-upload-id": "upload-1" }).end();
      else response.writeHead(403).end('{"code":"AccessDeniedException","message":"no","type":"Client"}');
    });
    const vault = vaultOf(scripted);
    const error = await vault.uploadArchive(largeFile, { multipartThreshold: MIB }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(UploadArchiveError);
    expect(error).toMatchObject({ uploadId: "upload-1", doneBytes: 0, totalBytes: large.length });
    expect((error as Error).message).toBe(`Incomplete upload upload-1 : 0 / ${large.length}`);
    expect((error as Error).cause).toMatchObject({ name: "CASServerError", code: "AccessDeniedException" });
  });

  test("an upload that failed is resumed with its id, and sends only what is missing", async () => {
    await using sdk = await SdkServer.start();
    const vault = await sdk.vault();
    const { data } = await sdk.api.initiateMultipartUpload("photos", { partSize: 16 * MIB });
    const range = { start: 0, end: 16 * MIB };
    await sdk.api.postMultipart("photos", data.multipartUploadId, large.subarray(0, 16 * MIB), { range });
    const sent: number[] = [];
    const archiveId = await vault.uploadArchive(largeFile, {
      resume: data.multipartUploadId,
      onProgress: ({ inFlightBytes }) => void sent.push(inFlightBytes),
    });
    expect(Math.max(...sent)).toBeLessThanOrEqual(large.length - 16 * MIB);
    expect((await stored(sdk, vault, archiveId)).equals(large)).toBe(true);
    await expect(vault.uploadArchive(largeFile, { resume: "unknown" })).rejects.toMatchObject({ status: 404 });
  });

  test("an abort rejects with the signal's reason", async () => {
    await using sdk = await SdkServer.start();
    const vault = await sdk.vault();
    const abort = new AbortController();
    const onInitiated = () => abort.abort("changed my mind");
    const options = { multipartThreshold: MIB, onInitiated, signal: abort.signal };
    await expect(vault.uploadArchive(largeFile, options)).rejects.toBe("changed my mind");
  });
});

describe("archives and jobs of a vault", () => {
  test("an archive object orders its retrieval and deletes itself", async () => {
    await using sdk = await SdkServer.start();
    const vault = await sdk.vault();
    const archive = vault.getArchive(await vault.uploadArchive(testBytes(2 * MIB)));
    expect(archive.getVault()).toBe(vault);
    const job = await archive.initiateArchiveRetrieval({ byteRange: "0-1048575", tier: "Bulk", description: "half" });
    expect(job).toMatchObject({
      action: "ArchiveRetrieval",
      archiveId: archive.archiveId,
      tier: "Bulk",
      description: "half",
      jobRange: { start: 0, end: MIB },
      vault,
    });
    expect((await archive.delete()).status).toBe(204);
  });

  test("jobs are found by their id and listed", async () => {
    await using sdk = await SdkServer.start();
    const vault = await sdk.vault();
    const job = await vault.initiateRetrieveInventory({ description: "all", format: "CSV" });
    expect((await vault.getJob(job.id)).description).toBe("all");
    expect((await collected(vault.listJobs({ completed: false }))).map(({ id }) => id)).toEqual([job.id]);
    await expect(vault.getJob("unknown")).rejects.toMatchObject({ status: 404 });
  });

  test("COS jobs are ordered as the documentation says", async () => {
    const orders: unknown[] = [];
    await using scripted = await ScriptedServer.start((request, response) => {
      if (request.method === "POST") {
        request.on("data", (chunk: Buffer) => orders.push(JSON.parse(chunk.toString())));
        request.on("end", () => response.writeHead(202, { "x-cas-job-id": "job-1" }).end());
      } else {
        const job = {
          JobId: "job-1",
          Action: "PushToCOS",
          StatusCode: "InProgress",
          CreationDate: "2024-01-01T00:00:00Z",
        };
        response.writeHead(200).end(JSON.stringify(job));
      }
    });
    const vault = vaultOf(scripted);
    const pushed = await vault.pushArchiveToCos("A", "b.example", "o/k", { byteRange: "0-1048575", tier: "Bulk" });
    expect(pushed).toMatchObject({ id: "job-1", action: "PushToCOS" });
    await vault.getArchive("A").pushToCos("b.example", "o/k");
    await vault.pullArchiveFromCos("b.example", "o/k", { archiveDescription: "pulled" });
    const cos = { Bucket: "b.example", Object: "o/k" };
    expect(orders).toEqual([
      { Type: "push-to-cos", ArchiveId: "A", Tier: "Bulk", RetrievalByteRange: "0-1048575", ...cos },
      { Type: "push-to-cos", ArchiveId: "A", ...cos },
      { Type: "pull-from-cos", ArchiveDescription: "pulled", ...cos },
    ]);
  });
});

describe("copies to and from COS", () => {
  test("push an archive to an object, and pull it back as a new archive", async () => {
    const buckets = join(directory, "buckets");
    await mkdir(buckets);
    await using sdk = await SdkServer.start({ objectStore: { kind: "directory", directory: buckets } });
    const vault = await sdk.vault();
    const content = testBytes(2 * MIB + 3);
    const archiveId = await vault.uploadArchive(content);
    const pushed = await vault.pushArchiveToCos(archiveId, "copies.example", "2024/copy", { tier: "Expedited" });
    await finished(sdk, pushed);
    expect(pushed).toMatchObject({ action: "PushToCOS", statusCode: "Succeeded", archiveId });
    expect(pushed.properties).toMatchObject({ bucket: "copies.example", object: "2024/copy" });
    const pulled = await vault.pullArchiveFromCos("copies.example", "2024/copy", { archiveDescription: "back" });
    await finished(sdk, pulled);
    expect(pulled).toMatchObject({ action: "PullFromCOS", statusCode: "Succeeded" });
    expect(pulled.properties.archiveDescription).toBe("back");
    expect((await stored(sdk, vault, pulled.archiveId!)).equals(content)).toBe(true);
  });
});

describe("the inventory of a vault", () => {
  test.each(["JSON", "CSV"] as const)("in %s has all archives with all fields", async (format) => {
    await using sdk = await SdkServer.start();
    const vault = await sdk.vault();
    const archiveId = await vault.uploadArchive(testBytes(1000), { description: 'a "quoted", description' });
    const inventory = inventoryLater(sdk, vault, { format });
    expect(await inventory).toEqual([
      {
        archiveId,
        archiveDescription: 'a "quoted", description',
        creationDate: new Date(startMs),
        size: 1000,
        treeHash: expect.stringMatching(/^[0-9a-f]{64}$/),
      },
    ]);
  });

  test("goes on with a new job where the first one stopped, and not when told so", async () => {
    await using sdk = await SdkServer.start();
    const vault = await sdk.vault();
    for (let size = 1; size <= 3; size++) await vault.uploadArchive(testBytes(size));
    expect(await inventoryLater(sdk, vault, { limit: 2, followMarker: true })).toHaveLength(3);
    expect(await inventoryLater(sdk, vault, { limit: 2 })).toHaveLength(2);
    expect(await collected(vault.listJobs())).toHaveLength(3);
  });

  test("of another kind of job is none, and a truncated one is no inventory", async () => {
    await using sdk = await SdkServer.start();
    const vault = await sdk.vault();
    const job = await vault.retrieveArchive(await vault.uploadArchive(testBytes(10)));
    await expect(collected(job.inventory())).rejects.toThrow(CASClientError);
    await using scripted = await ScriptedServer.start((request, response) => {
      const job = {
        JobId: "job-1",
        Action: "InventoryRetrieval",
        StatusCode: "Succeeded",
        Completed: true,
        CreationDate: "2024-01-01T00:00:00Z",
        InventoryRetrievalParameters: { Format: "JSON" },
      };
      response.writeHead(200).end(request.url?.endsWith("output") ? '{"ArchiveList":[' : JSON.stringify(job));
    });
    const broken = await vaultOf(scripted).getJob("job-1");
    await expect(collected(broken.inventory())).rejects.toThrow(CASClientError);
  });
});

function vaultOf(scripted: ScriptedServer): Vault {
  return new Vault(scripted.api, {
    vaultName: "photos",
    vaultQcs: "",
    creationDate: new Date(0),
    lastInventoryDate: null,
    numberOfArchives: null,
    sizeInBytes: null,
  });
}

async function finishedInventory(sdk: SdkServer, vault: Vault) {
  const job = await vault.initiateRetrieveInventory();
  await sdk.pass(4 * hour);
  return job;
}

/** Lets time pass until the job has done its work. */
async function finished(sdk: SdkServer, job: Job): Promise<void> {
  const pollMs = () => {
    void sdk.pass(1000);
    return 20;
  };
  await job.wait({ pollMs });
}

/** Reads an inventory while the hours of its jobs pass. */
async function inventoryLater(sdk: SdkServer, vault: Vault, options: Parameters<Vault["inventory"]>[0]) {
  const pollMs = () => {
    void sdk.pass(4 * hour);
    return 10;
  };
  return collected(vault.inventory({ ...options, pollMs }));
}
