/** Upload Archive and Delete Archive (cas-api section 9). */

import type { ArchiveId } from "../../domain/ids.js";
import type { ArchiveUpload } from "../../protocol/archive-wire.js";
import { formatArchiveCreated, parseArchiveUpload } from "../../protocol/archive-wire.js";
import type { IncomingFile } from "../bytes/body-files.js";
import { checkDigest } from "../bytes/digest-check.js";
import type { ArchiveStore } from "../store/archive-store.js";
import type { Handlers } from "./exchange.js";
import type { RequestBody } from "./request-body.js";

export const archiveHandlers: Handlers<"uploadArchive" | "deleteArchive"> = {
  async uploadArchive(cas, { owner, headers, body }, { vault }) {
    const row = cas.store.vault(owner.appId, vault);
    const upload = parseArchiveUpload(headers, { sizeBytesMax: cas.singleUploadBytesMax });
    const archive = await cas.store.writing(row, async () => {
      const file = await receiveChecked(cas.store, upload, body);
      return (await cas.store.storeArchive(row, { file, description: upload.description })) as ArchiveId;
    });
    return { status: 201, headers: formatArchiveCreated({ ...upload, appId: owner.appId, vault, archive }) };
  },

  deleteArchive(cas, { owner }, { vault, archive }) {
    cas.store.deleteArchive(cas.store.vault(owner.appId, vault), archive);
    return { status: 204 };
  },
};

async function receiveChecked(store: ArchiveStore, upload: ArchiveUpload, body: RequestBody): Promise<IncomingFile> {
  const file = await store.receive(body);
  try {
    checkDigest(upload, file.digest);
    return file;
  } catch (error) {
    await file.discard();
    throw error;
  }
}
