/** CasService -> CasService: tells what each call is on the bill. Around the connection itself, so that repeats count. */

import { rangeLength } from "../domain/bytes.js";
import type { ArchiveId, VaultName } from "../domain/ids.js";
import type { CasService } from "../protocol/service.js";
import { aroundEachCall, type CasOperation } from "./wrapped-service.js";

/** Hears of what was asked for; called synchronously, must not throw. */
export interface ServiceMeter {
  /** A request was sent, whatever came of it. */
  request(kind: "read" | "write"): void;
  /** The service has done it. */
  done(item: "upload" | "part" | "download", bytes: number): void;
  orderedInventory(): void;
  deleted(vault: VaultName, archive: ArchiveId): void;
}

/** GET and HEAD are billed as reads, PUT, POST and DELETE as writes (cas-api section 14.2). */
const reads: ReadonlySet<CasOperation> = new Set([
  "describeVault",
  "listVaults",
  "listParts",
  "listMultipartUploads",
  "describeJob",
  "listJobs",
  "getJobOutput",
]);

/** @param meter Asked for at each call, as who counts may come later than the connection. */
export function meteredService(service: CasService, meter: () => ServiceMeter | undefined): CasService {
  const counted = aroundEachCall(service, (operation, _options, call) => {
    meter()?.request(reads.has(operation) ? "read" : "write");
    return call();
  });
  return {
    ...counted,
    async uploadArchive(vault, archive, options) {
      const id = await counted.uploadArchive(vault, archive, options);
      meter()?.done("upload", archive.sizeBytes);
      return id;
    },
    async uploadPart(vault, upload, part, options) {
      await counted.uploadPart(vault, upload, part, options);
      meter()?.done("part", rangeLength(part.range));
    },
    async completeMultipartUpload(vault, upload, archive, options) {
      const id = await counted.completeMultipartUpload(vault, upload, archive, options);
      meter()?.done("upload", archive.sizeBytes);
      return id;
    },
    async initiateJob(vault, request, options) {
      const job = await counted.initiateJob(vault, request, options);
      if (request.action === "retrieve-inventory") meter()?.orderedInventory();
      return job;
    },
    async deleteArchive(vault, archive, options) {
      await counted.deleteArchive(vault, archive, options);
      meter()?.deleted(vault, archive);
    },
    async getJobOutput(vault, job, range, options) {
      const output = await counted.getJobOutput(vault, job, range, options);
      meter()?.done("download", output.sizeBytes);
      return output;
    },
  };
}
