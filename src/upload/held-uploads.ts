/**
 * Holds uploads to vaults that somebody else writes to.
 *
 * A held upload fails before its content is touched, with the reason that a person can act upon; the queue shows it
 * and tries it again, so nothing has to be remembered.
 * Never: stops an upload that has begun; its archive is added beside what is there, and replaces nothing. Least of all
 * one of which parts are only in the service, which forgets them after a day.
 */

import type { CasfsError } from "../domain/errors.js";
import type { VaultName } from "../domain/ids.js";
import type { UploadJournal } from "./ports.js";
import type { Uploader } from "./uploader.js";

/** @param heldBecause Why nothing may be sent to a vault now; undefined when it may. */
export function holdingUploader(
  uploader: Pick<Uploader, "upload">,
  journal: Pick<UploadJournal, "find" | "droppedParts">,
  heldBecause: (vault: VaultName) => CasfsError | undefined,
): Pick<Uploader, "upload"> {
  return {
    upload: async (content, options) => {
      const pending = journal.find(content);
      const reason = pending && heldBecause(pending.vault);
      if (reason !== undefined && journal.droppedParts(content).length === 0) throw reason;
      return uploader.upload(content, options);
    },
  };
}
