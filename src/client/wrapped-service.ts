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
  return aroundEachCurrentCall(() => service, around);
}

/** The same around a service that may be another one at each call. */
export function aroundEachCurrentCall(current: () => CasService, around: AroundCall): CasService {
  return {
    createVault: (vault, options) => around("createVault", options, () => current().createVault(vault, options)),
    describeVault: (vault, options) => around("describeVault", options, () => current().describeVault(vault, options)),
    deleteVault: (vault, options) => around("deleteVault", options, () => current().deleteVault(vault, options)),
    vaultCallback: (vault, options) => around("vaultCallback", options, () => current().vaultCallback(vault, options)),
    setVaultCallback: (vault, url, options) =>
      around("setVaultCallback", options, () => current().setVaultCallback(vault, url, options)),
    listVaults: (page, options) => around("listVaults", options, () => current().listVaults(page, options)),
    uploadArchive: (vault, archive, options) =>
      around("uploadArchive", options, () => current().uploadArchive(vault, archive, options)),
    deleteArchive: (vault, archive, options) =>
      around("deleteArchive", options, () => current().deleteArchive(vault, archive, options)),
    initiateMultipartUpload: (vault, upload, options) =>
      around("initiateMultipartUpload", options, () => current().initiateMultipartUpload(vault, upload, options)),
    uploadPart: (vault, upload, part, options) =>
      around("uploadPart", options, () => current().uploadPart(vault, upload, part, options)),
    completeMultipartUpload: (vault, upload, archive, options) =>
      around("completeMultipartUpload", options, () =>
        current().completeMultipartUpload(vault, upload, archive, options),
      ),
    abortMultipartUpload: (vault, upload, options) =>
      around("abortMultipartUpload", options, () => current().abortMultipartUpload(vault, upload, options)),
    listParts: (vault, upload, page, options) =>
      around("listParts", options, () => current().listParts(vault, upload, page, options)),
    listMultipartUploads: (vault, page, options) =>
      around("listMultipartUploads", options, () => current().listMultipartUploads(vault, page, options)),
    initiateJob: (vault, request, options) =>
      around("initiateJob", options, () => current().initiateJob(vault, request, options)),
    describeJob: (vault, job, options) =>
      around("describeJob", options, () => current().describeJob(vault, job, options)),
    listJobs: (vault, filter, options) => around("listJobs", options, () => current().listJobs(vault, filter, options)),
    getJobOutput: (vault, job, range, options) =>
      around("getJobOutput", options, () => current().getJobOutput(vault, job, range, options)),
  };
}
