/** The work of `casfs upload init|part|complete|abort`: an upload step by step. */

import { createReadStream } from "node:fs";
import type { ByteCount } from "../../domain/bytes.js";
import type { VaultName } from "../../domain/ids.js";
import { treeHashHex } from "../../protocol/tree-hash.js";
import { digestOfFile } from "../archive/archive-hash.js";
import { CommandLineError } from "../failure.js";
import { jsonOutput } from "../output.js";
import { attempting, withService } from "../service-session.js";
import type { Terminal } from "../terminal.js";
import type { UploadPlace } from "./upload-list.js";

interface JsonFlag {
  readonly json?: boolean;
}

interface InitFlags extends JsonFlag {
  readonly partSize: ByteCount;
  readonly description?: string;
}

interface PartFlags extends JsonFlag {
  readonly start?: ByteCount;
  readonly end?: ByteCount;
}

interface CompleteFlags extends JsonFlag {
  readonly file?: string;
  readonly size?: ByteCount;
  readonly treeHash?: string;
}

export async function init(vault: VaultName, flags: InitFlags, terminal: Terminal): Promise<void> {
  const { partSize, description, ...settings } = flags;
  await withService(settings, terminal, async ({ api, signal }) => {
    const call = api.initiateMultipartUpload(vault, { partSize, description }, { signal });
    const { data } = await attempting(`begin an upload to the vault ${vault}`, call);
    terminal.print(flags.json ? jsonOutput(data) : data.multipartUploadId);
  });
}

export async function sendPart(
  { vault, upload, file }: UploadPlace & { readonly file: string },
  flags: PartFlags,
  terminal: Terminal,
): Promise<void> {
  if (file === "-") throw new CommandLineError("Cannot send a part of standard input: it is read twice");
  const { sizeBytes, sha256, treeHash } = await digestOfFile(file, flags, terminal);
  const start = flags.start ?? 0;
  const range = { start, end: start + sizeBytes };
  await withService(flags, terminal, async ({ api, signal }) => {
    const body = createReadStream(file, { start, end: range.end - 1 });
    const hashes = { contentSha256: sha256, treeHash };
    const call = api.postMultipartFromReader(vault, upload, body, sizeBytes, { range, ...hashes }, { signal });
    await attempting(`send the bytes ${start}-${range.end - 1} of the upload ${upload}`, call);
    const said = `sent the bytes ${start}-${range.end - 1} of the upload ${upload}`;
    terminal.print(flags.json ? jsonOutput({ multipartUploadId: upload, ...range, treeHash }) : said);
  });
}

export async function complete(
  { vault, upload }: UploadPlace,
  flags: CompleteFlags,
  terminal: Terminal,
): Promise<void> {
  const completion = await completionOf(flags, terminal);
  await withService(flags, terminal, async ({ api, signal }) => {
    const call = api.completeMultipartUpload(vault, upload, completion, { signal });
    const { data } = await attempting(`complete the upload ${upload}`, call);
    terminal.print(flags.json ? jsonOutput(data) : data.archiveId);
  });
}

export async function abort({ vault, upload }: UploadPlace, flags: JsonFlag, terminal: Terminal): Promise<void> {
  await withService(flags, terminal, async ({ api, signal }) => {
    await attempting(`abort the upload ${upload}`, api.abortMultipartUpload(vault, upload, { signal }));
    const said = `aborted the upload ${upload}`;
    terminal.print(flags.json ? jsonOutput({ multipartUploadId: upload, aborted: true }) : said);
  });
}

async function completionOf({ file, size, treeHash }: CompleteFlags, terminal: Terminal) {
  if (file !== undefined && size === undefined && treeHash === undefined) {
    const digest = await digestOfFile(file, {}, terminal);
    return { fileSize: digest.sizeBytes, treeHash: digest.treeHash as string };
  }
  if (file !== undefined || size === undefined || treeHash === undefined) {
    throw new CommandLineError("Cannot complete an upload without either --file, or --size and --tree-hash");
  }
  return { fileSize: size as number, treeHash: hexOf(treeHash) };
}

function hexOf(text: string): string {
  try {
    return treeHashHex(text);
  } catch (error) {
    throw new CommandLineError((error as RangeError).message);
  }
}
