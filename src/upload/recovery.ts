/**
 * After a crash: what each journaled step means, and what is left behind in the service.
 *
 * Relies on: every intent being journaled before its request, every outcome after the answer.
 */

import { describeError, isMissing } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { CasService } from "../protocol/service.js";
import type { UploadJournal, UploadProgress } from "./ports.js";

/** Where an upload goes on. */
export type ResumePoint =
  | { readonly from: "start" }
  /** The service may hold parts already: compare before sending. */
  | { readonly from: "parts"; readonly upload: Extract<UploadProgress, { readonly step: "parts" }> }
  | { readonly from: "complete"; readonly upload: Extract<UploadProgress, { readonly step: "completing" }> };

/**
 * Reads the journal's last word about an upload.
 *
 * - "sending": Upload Archive may or may not have made an archive; nobody can ask the service before its next
 *   inventory. It is sent again at once, and the twin, if there is one, is found by that inventory.
 * - "initiating": an upload id whose answer was lost is unknown to us and expires by itself.
 * - "completing": the service remembers a finished upload for an hour, so Complete is simply repeated.
 */
export function resumePoint(progress: UploadProgress): ResumePoint {
  switch (progress.step) {
    case "sealed":
    case "sending":
    case "initiating":
      return { from: "start" };
    case "parts":
      return { from: "parts", upload: progress };
    case "completing":
      return { from: "complete", upload: progress };
  }
}

export interface AbandonedUploadParts {
  readonly service: Pick<CasService, "abortMultipartUpload">;
  readonly journal: Pick<UploadJournal, "abandoned" | "didAbort" | "flush">;
  readonly observer: Observer;
}

/**
 * Aborts the uploads whose contents are gone. One that the service does not know is done.
 *
 * @returns how many could not be aborted and have to be tried again later.
 */
export async function abortAbandonedUploads(
  { service, journal, observer }: AbandonedUploadParts,
  signal?: AbortSignal,
): Promise<number> {
  const abandoned = journal.abandoned();
  let failed = 0;
  // An abort cannot be undone: that the content is gone must survive a power loss first.
  if (abandoned.length > 0) await journal.flush();
  for (const { vault, uploadId } of abandoned) {
    try {
      await service.abortMultipartUpload(vault, uploadId, { signal });
    } catch (error) {
      signal?.throwIfAborted();
      if (!isMissing(error)) {
        failed += 1;
        observer({ type: "warning", message: `Cannot abort upload ${uploadId} yet: ${describeError(error)}` });
        continue;
      }
    }
    await journal.didAbort(uploadId);
  }
  return failed;
}
