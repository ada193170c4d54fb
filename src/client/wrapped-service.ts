/** Something around every call of a service, for the wrappers that treat all operations alike. */

import type { CallOptions, CasService } from "../protocol/service.js";

export type CasOperation = keyof CasService;

/**
 * Runs `call`, which makes one call on the wrapped service each time it is called.
 *
 * What it resolves to is what the caller gets.
 */
export type AroundCall = <T>(
  operation: CasOperation,
  options: CallOptions | undefined,
  call: () => Promise<T>,
) => Promise<T>;

export function aroundEachCall(service: CasService, around: AroundCall): CasService {
  return {
    createVault: (vault, options) => around("createVault", options, () => service.createVault(vault, options)),
    describeVault: (vault, options) => around("describeVault", options, () => service.describeVault(vault, options)),
    deleteVault: (vault, options) => around("deleteVault", options, () => service.deleteVault(vault, options)),
    listVaults: (page, options) => around("listVaults", options, () => service.listVaults(page, options)),
    uploadArchive: (vault, archive, options) =>
      around("uploadArchive", options, () => service.uploadArchive(vault, archive, options)),
    deleteArchive: (vault, archive, options) =>
      around("deleteArchive", options, () => service.deleteArchive(vault, archive, options)),
    initiateMultipartUpload: (vault, upload, options) =>
      around("initiateMultipartUpload", options, () => service.initiateMultipartUpload(vault, upload, options)),
    uploadPart: (vault, upload, part, options) =>
      around("uploadPart", options, () => service.uploadPart(vault, upload, part, options)),
    completeMultipartUpload: (vault, upload, archive, options) =>
      around("completeMultipartUpload", options, () =>
        service.completeMultipartUpload(vault, upload, archive, options),
      ),
    abortMultipartUpload: (vault, upload, options) =>
      around("abortMultipartUpload", options, () => service.abortMultipartUpload(vault, upload, options)),
    listParts: (vault, upload, page, options) =>
      around("listParts", options, () => service.listParts(vault, upload, page, options)),
    listMultipartUploads: (vault, page, options) =>
      around("listMultipartUploads", options, () => service.listMultipartUploads(vault, page, options)),
    initiateJob: (vault, request, options) =>
      around("initiateJob", options, () => service.initiateJob(vault, request, options)),
    describeJob: (vault, job, options) =>
      around("describeJob", options, () => service.describeJob(vault, job, options)),
    listJobs: (vault, filter, options) => around("listJobs", options, () => service.listJobs(vault, filter, options)),
    getJobOutput: (vault, job, range, options) =>
      around("getJobOutput", options, () => service.getJobOutput(vault, job, range, options)),
  };
}
