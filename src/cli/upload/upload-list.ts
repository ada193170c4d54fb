/** The work of `casfs upload ls|parts`. */

import { totalLength } from "../../domain/bytes.js";
import type { UploadId, VaultName } from "../../domain/ids.js";
import { printable } from "../../lib/printable.js";
import { nextMarker } from "../../protocol/next-marker.js";
import type { MultipartUploadProperties, PartProperties } from "../../sdk/index.js";
import { jsonOutput, sizeText } from "../output.js";
import { attempting, attemptingEach, type ServiceSession, withService } from "../service-session.js";
import { dateText, fieldLines, tableLines } from "../table.js";
import { counted, type Terminal } from "../terminal.js";

export interface PageFlags {
  readonly json?: boolean;
  readonly limit?: number;
  readonly marker?: string;
  readonly bytes?: boolean;
}

export interface UploadPlace {
  readonly vault: VaultName;
  readonly upload: UploadId;
}

export async function listUploads(vault: VaultName, flags: PageFlags, terminal: Terminal): Promise<void> {
  await withService(flags, terminal, async (session) => {
    const { uploads, marker } = await uploadsOf(session, vault, flags);
    if (flags.json) return terminal.print(jsonOutput({ uploads: uploads.map(toJson), marker }));
    if (uploads.length === 0) terminal.tell(`no unfinished uploads in the vault ${vault}`);
    else for (const line of uploadTable(uploads, flags)) terminal.print(line);
    if (marker !== null) terminal.tell(`more uploads follow: --marker ${printable(marker)}`);
  });
}

export async function listParts(place: UploadPlace, flags: PageFlags, terminal: Terminal): Promise<void> {
  await withService(flags, terminal, async (session) => {
    const { upload, parts, marker } = await partsOf(session, place, flags);
    if (flags.json) return terminal.print(jsonOutput({ ...toJson(upload), parts, marker }));
    for (const line of fieldLines(uploadFields(upload, parts))) terminal.print(line);
    if (parts.length > 0) for (const line of partTable(parts, flags)) terminal.print(line);
    if (marker !== null) terminal.tell(`more parts follow: --marker ${printable(marker)}`);
  });
}

/** One page when a part is asked for, else all of them. */
async function uploadsOf({ api, signal }: ServiceSession, vault: VaultName, { limit, marker }: PageFlags) {
  const attempt = `list the uploads to the vault ${vault}`;
  if (limit !== undefined || marker !== undefined) {
    const { data } = await attempting(attempt, api.listMultipartUploads(vault, { limit, marker }, { signal }));
    return { uploads: data.uploadsList, marker: data.marker };
  }
  const uploads: MultipartUploadProperties[] = [];
  const all = api.listAllMultipartUploads(vault, { signal });
  for await (const upload of attemptingEach(attempt, all)) uploads.push(upload);
  return { uploads, marker: null };
}

async function partsOf(
  { api, signal }: ServiceSession,
  { vault, upload: id }: UploadPlace,
  { limit, marker }: PageFlags,
) {
  const isOnePage = limit !== undefined || marker !== undefined;
  const parts: PartProperties[] = [];
  for (let next = marker; ; ) {
    const call = api.listParts(vault, id, { limit, marker: next }, { signal });
    const { data } = await attempting(`list the parts of the upload ${id}`, call);
    parts.push(...data.parts);
    if (isOnePage) return { upload: data, parts, marker: data.marker };
    next = nextMarker(data, next);
    if (next === undefined) return { upload: data, parts, marker: null };
  }
}

function uploadTable(uploads: readonly MultipartUploadProperties[], { bytes = false }: PageFlags): string[] {
  const rows = uploads.map((upload) => [
    dateText(upload.creationDate),
    sizeText(upload.partSizeInBytes, { bytes }),
    upload.multipartUploadId,
    upload.archiveDescription,
  ]);
  const columns = [{ title: "CREATED" }, { title: "PART_SIZE", align: "right" as const }, { title: "UPLOAD_ID" }];
  return tableLines([...columns, { title: "DESCRIPTION" }], rows);
}

function partTable(parts: readonly PartProperties[], { bytes = false }: PageFlags): string[] {
  const rows = parts.map(({ start, end, treeHash }) => [
    `${start}-${end - 1}`,
    sizeText(end - start, { bytes }),
    treeHash,
  ]);
  return tableLines([{ title: "RANGE" }, { title: "SIZE", align: "right" }, { title: "TREE_HASH" }], rows);
}

function uploadFields(
  upload: MultipartUploadProperties,
  parts: readonly PartProperties[],
): (readonly [string, string])[] {
  const sent = totalLength(parts);
  return [
    ["upload", upload.multipartUploadId],
    ["created", dateText(upload.creationDate)],
    ["part size", sizeText(upload.partSizeInBytes, { bytes: false, exact: true })],
    ["description", upload.archiveDescription],
    ["vault", upload.vaultQcs],
    ["listed", `${counted(parts.length, "part")}, ${sizeText(sent, { bytes: false, exact: true })}`],
  ];
}

function toJson(upload: MultipartUploadProperties): MultipartUploadProperties {
  const { multipartUploadId, archiveDescription, creationDate, partSizeInBytes, vaultQcs } = upload;
  return { multipartUploadId, archiveDescription, creationDate, partSizeInBytes, vaultQcs };
}
