/** Multipart upload operations (cas-api section 10). */

import { byteCount } from "../../domain/bytes.js";
import type { UploadId } from "../../domain/ids.js";
import type { Instant } from "../../domain/time.js";
import { formatArchiveCreated } from "../../protocol/archive-wire.js";
import {
  formatPartList,
  formatUploadCreated,
  formatUploadList,
  parseCompletion,
  parseInitiateUpload,
  parsePartsMarker,
  parsePartUpload,
} from "../../protocol/multipart-wire.js";
import { type PageQuery, parsePageQuery } from "../../protocol/page-wire.js";
import { queryValue } from "../../protocol/query.js";
import type { PartDescription, TreeHashHex, UploadDescription } from "../../protocol/service.js";
import type { NameValue } from "../../protocol/signature.js";
import type { BodyFileRow } from "../store/body-table.js";
import { rangeOfFile } from "../store/multipart-store.js";
import { formatPlace, parsePlace } from "../store/page-place.js";
import type { UploadRow } from "../store/upload-table.js";
import type { CasRequest, Handlers } from "./exchange.js";

type MultipartOperation =
  | "initiateMultipartUpload"
  | "listMultipartUploads"
  | "uploadPart"
  | "completeMultipartUpload"
  | "listParts"
  | "abortMultipartUpload";

export const multipartHandlers: Handlers<MultipartOperation> = {
  initiateMultipartUpload(cas, { owner, headers }, { vault }) {
    const row = cas.store.vault(owner.appId, vault);
    const upload = parseInitiateUpload(headers, { lenient: cas.uploads.lenientPartSize });
    const id = cas.uploads.initiate(row, upload) as UploadId;
    return { status: 201, headers: formatUploadCreated(owner.appId, vault, id) };
  },

  async uploadPart(cas, { owner, headers, body }, { vault, upload }) {
    const row = cas.store.vault(owner.appId, vault);
    const open = cas.uploads.open(row, upload);
    const part = parsePartUpload(headers, open.part_size_bytes);
    await cas.uploads.putPart(row, open, part, body);
    return { status: 204, headers: { "x-cas-sha256-tree-hash": part.treeHash } };
  },

  completeMultipartUpload(cas, { owner, headers }, { vault, upload }) {
    const row = cas.store.vault(owner.appId, vault);
    const { archiveId: archive, treeHash } = cas.uploads.complete(row, upload, parseCompletion(headers));
    return { status: 201, headers: formatArchiveCreated({ appId: owner.appId, vault, archive, treeHash }) };
  },

  abortMultipartUpload(cas, { owner }, { vault, upload }) {
    cas.uploads.abort(cas.store.vault(owner.appId, vault), upload);
    return { status: 204 };
  },

  listParts(cas, request, { vault, upload }) {
    const open = cas.uploads.open(cas.store.vault(request.owner.appId, vault), upload);
    const { marker, limit } = pageOf(request);
    const rows = cas.uploads.parts(open, { start: parsePartsMarker(marker), limit: limit + 1 });
    const page = {
      upload: describeUpload(open),
      items: rows.slice(0, limit).map(describePart),
      marker: rows[limit] === undefined ? null : String(rows[limit].start),
    };
    return { status: 200, json: formatPartList(request.owner, vault, page) };
  },

  listMultipartUploads(cas, request, { vault }) {
    const row = cas.store.vault(request.owner.appId, vault);
    const { marker, limit } = pageOf(request);
    const rows = cas.uploads.list(row, parsePlace(marker), limit + 1);
    const next = rows[limit];
    const page = {
      items: rows.slice(0, limit).map(describeUpload),
      marker: next === undefined ? null : formatPlace({ atMs: next.created_at_ms, id: next.upload_id }),
    };
    return { status: 200, json: formatUploadList(request.owner, vault, page) };
  },
};

/** The Go client sends `marker` and `limit` of these two listings as headers (cas-api section 6.5). */
function pageOf({ headers, parameters }: CasRequest): PageQuery {
  const fromHeaders = ["marker", "limit"].flatMap((name): NameValue[] => {
    const value = queryValue(parameters, name) === undefined ? headers(name) : undefined;
    return value === undefined ? [] : [[name, value]];
  });
  return parsePageQuery([...parameters, ...fromHeaders].filter(([, value]) => value !== ""));
}

function describeUpload(row: UploadRow): UploadDescription {
  return {
    id: row.upload_id as UploadId,
    description: row.description,
    createdAt: row.created_at_ms as Instant,
    partSizeBytes: byteCount(row.part_size_bytes),
  };
}

function describePart(file: BodyFileRow): PartDescription {
  return { range: rangeOfFile(file), treeHash: file.tree_hash.toString("hex") as TreeHashHex };
}
