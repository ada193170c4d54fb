/** An archive as an object (CAS SDK documentation, "Archive"; cas-api section 17.6). */

import type { CallOptions } from "../protocol/service.js";
import type { CASResponse } from "./cas-api.js";
import type { Job } from "./job.js";
import type { PushToCosOptions, RetrieveArchiveOptions, Vault } from "./vault.js";

/** Only vault and id; making one asks nothing of the service. */
export class Archive {
  constructor(
    readonly vault: Vault,
    readonly archiveId: string,
  ) {}

  getVault(): Vault {
    return this.vault;
  }

  /** See `Vault.retrieveArchive`. */
  initiateArchiveRetrieval(options?: RetrieveArchiveOptions): Promise<Job> {
    return this.vault.retrieveArchive(this.archiveId, options);
  }

  /** See `Vault.pushArchiveToCos`. */
  pushToCos(bucket: string, object: string, options?: PushToCosOptions): Promise<Job> {
    return this.vault.pushArchiveToCos(this.archiveId, bucket, object, options);
  }

  /** See `Vault.deleteArchive`. */
  delete(options?: CallOptions): Promise<CASResponse<void>> {
    return this.vault.deleteArchive(this.archiveId, options);
  }
}
