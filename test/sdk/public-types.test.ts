/** What the types of the package promise; most of it is checked by the compiler, not by running. */

import type { Writable } from "node:stream";
import { describe, expectTypeOf, test } from "vitest";
import type {
  Archive,
  ByteSpan,
  CASClient,
  CASClientError,
  CASClientOptions,
  CASResponse,
  CASServerError,
  CasAPI,
  CreatedArchive,
  DownloadArchiveError,
  DownloadedRange,
  HashDoesNotMatchError,
  InitiatedJob,
  InventoryEntry,
  Job,
  JobOutputStream,
  JobParameters,
  JobProperties,
  MultipartUpload,
  MultipartUploadProperties,
  PartProperties,
  RawResponse,
  UploadArchiveError,
  Vault,
  VaultList,
  VaultProperties,
} from "../../src/sdk/index.js";

/** The operations that both the client and the API have. */
type Operation = Exclude<keyof CASClient & keyof CasAPI, "close" | typeof Symbol.asyncDispose>;

describe("CASClient", () => {
  test("gives raw answers to all operations", () => {
    expectTypeOf<ReturnType<CASClient[Operation]>>().toEqualTypeOf<Promise<RawResponse>>();
    expectTypeOf<RawResponse["body"]>().toEqualTypeOf<AsyncIterable<Uint8Array>>();
    expectTypeOf<RawResponse["json"]>().returns.resolves.toBeUnknown();
  });

  test("shows no key", () => {
    expectTypeOf<keyof CASClient>()
      .exclude<Operation>()
      .toEqualTypeOf<"endpoint" | "appId" | "close" | typeof Symbol.asyncDispose>();
  });

  test("needs an endpoint and a secret id", () => {
    expectTypeOf<{ endpoint: string; secretId: string }>().toExtend<CASClientOptions>();
    expectTypeOf<{ endpoint: string }>().not.toExtend<CASClientOptions>();
  });
});

describe("CasAPI", () => {
  test("has every operation of the client", () => {
    expectTypeOf<Exclude<keyof CASClient, keyof CasAPI>>().toEqualTypeOf<"endpoint" | "appId">();
    expectTypeOf<CasAPI["client"]>().toEqualTypeOf<CASClient>();
  });

  test("types its answers", () => {
    expectTypeOf<CasAPI["describeVault"]>().returns.resolves.toEqualTypeOf<CASResponse<VaultProperties>>();
    expectTypeOf<CasAPI["listVaults"]>().returns.resolves.toEqualTypeOf<CASResponse<VaultList>>();
    expectTypeOf<CasAPI["deleteVault"]>().returns.resolves.toEqualTypeOf<CASResponse<void>>();
    expectTypeOf<CasAPI["uploadArchive"]>().returns.resolves.toEqualTypeOf<CASResponse<CreatedArchive>>();
    expectTypeOf<CasAPI["initiateJob"]>().returns.resolves.toEqualTypeOf<CASResponse<InitiatedJob>>();
    expectTypeOf<CasAPI["describeJob"]>().returns.resolves.toEqualTypeOf<CASResponse<JobProperties>>();
    expectTypeOf<CasAPI["getJobOutput"]>().returns.resolves.toEqualTypeOf<CASResponse<JobOutputStream>>();
    expectTypeOf<CasAPI["describeMultipart"]>().toEqualTypeOf<CasAPI["listParts"]>();
  });

  test("gives whole listings as sequences", () => {
    expectTypeOf<CasAPI["listAllVaults"]>().returns.toEqualTypeOf<AsyncIterable<VaultProperties>>();
    expectTypeOf<CasAPI["listAllParts"]>().returns.toEqualTypeOf<AsyncIterable<PartProperties>>();
    expectTypeOf<CasAPI["listAllMultipartUploads"]>().returns.toEqualTypeOf<AsyncIterable<MultipartUploadProperties>>();
    expectTypeOf<CasAPI["listAllJobs"]>().returns.toEqualTypeOf<AsyncIterable<JobProperties>>();
  });

  test("takes an abort signal as the last argument of every operation", () => {
    expectTypeOf<CasAPI["listVaults"]>()
      .parameter(1)
      .toEqualTypeOf<{ readonly signal?: AbortSignal | undefined } | undefined>();
    expectTypeOf<CasAPI["deleteArchive"]>()
      .parameter(2)
      .toEqualTypeOf<{ readonly signal?: AbortSignal | undefined } | undefined>();
  });
});

describe("values", () => {
  test("dates are dates, counts may be null, ranges are half-open objects", () => {
    expectTypeOf<VaultProperties["creationDate"]>().toEqualTypeOf<Date>();
    expectTypeOf<VaultProperties["numberOfArchives"]>().toEqualTypeOf<number | null>();
    expectTypeOf<JobProperties["completionDate"]>().toEqualTypeOf<Date | null>();
    expectTypeOf<JobProperties["retrievalByteRange"]>().toEqualTypeOf<ByteSpan | null>();
    expectTypeOf<PartProperties>().toEqualTypeOf<{
      readonly start: number;
      readonly end: number;
      readonly treeHash: string;
    }>();
    expectTypeOf<JobProperties["statusCode"]>().toEqualTypeOf<"InProgress" | "Succeeded" | "Failed">();
  });

  test("a job is ordered with what its type needs", () => {
    expectTypeOf<{ type: "archive-retrieval"; archiveId: string }>().toExtend<JobParameters>();
    expectTypeOf<{ type: "archive-retrieval" }>().not.toExtend<JobParameters>();
    expectTypeOf<{ type: "inventory-retrieval" }>().toExtend<JobParameters>();
    expectTypeOf<{ type: "pull-from-cos"; bucket: string; object: string }>().toExtend<JobParameters>();
    expectTypeOf<{ type: "push-to-cos"; bucket: string; object: string }>().not.toExtend<JobParameters>();
  });
});

describe("objects", () => {
  test("Vault", () => {
    expectTypeOf<typeof Vault.create>().returns.resolves.toEqualTypeOf<Vault>();
    expectTypeOf<typeof Vault.listAllVaults>().returns.toExtend<AsyncIterable<Vault>>();
    expectTypeOf<Vault["uploadArchive"]>()
      .parameter(0)
      .toEqualTypeOf<string | Uint8Array | AsyncIterable<Uint8Array>>();
    expectTypeOf<Vault["uploadArchive"]>().returns.resolves.toBeString();
    expectTypeOf<Vault["getArchive"]>().returns.toEqualTypeOf<Archive>();
    expectTypeOf<Vault["retrieveArchive"]>().returns.resolves.toEqualTypeOf<Job>();
    expectTypeOf<Vault["inventory"]>().returns.toExtend<AsyncIterable<InventoryEntry>>();
    expectTypeOf<Vault["getMultipartUploader"]>().returns.resolves.toEqualTypeOf<MultipartUpload>();
    expectTypeOf<Vault["listAllMultipartUploads"]>().returns.toExtend<AsyncIterable<MultipartUpload>>();
  });

  test("Job", () => {
    expectTypeOf<Job["wait"]>().returns.resolves.toEqualTypeOf<Job>();
    expectTypeOf<Job["downloadByRange"]>().parameter(1).toEqualTypeOf<string | Writable>();
    expectTypeOf<Job["downloadToFile"]>().returns.resolves.toEqualTypeOf<DownloadedRange>();
    expectTypeOf<Job["inventory"]>().returns.toExtend<AsyncIterable<InventoryEntry>>();
  });

  test("MultipartUpload", () => {
    expectTypeOf<MultipartUpload["start"]>().returns.resolves.toBeString();
    expectTypeOf<MultipartUpload["treeHash"]>().toEqualTypeOf<string | null>();
  });
});

describe("errors", () => {
  test("all are errors, and the failures of transfers are client errors", () => {
    expectTypeOf<CASServerError>().toExtend<Error>();
    expectTypeOf<UploadArchiveError>().toExtend<CASClientError>();
    expectTypeOf<DownloadArchiveError>().toExtend<CASClientError>();
    expectTypeOf<HashDoesNotMatchError>().toExtend<CASClientError>();
    expectTypeOf<CASServerError["status"]>().toBeNumber();
    expectTypeOf<CASServerError["code"]>().toEqualTypeOf<string | undefined>();
  });
});
