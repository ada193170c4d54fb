/** `casfs upload`: unfinished multipart uploads, and their single steps. Grammar only; the work is loaded when asked for. */

import type { Command } from "commander";
import { descriptionArgument, pageLimitArgument, sizeArgument, uploadArgument, vaultArgument } from "../arguments.js";
import { addServiceOptions, type ServiceCommand, serviceGroup } from "../service-command.js";
import type { Terminal } from "../terminal.js";

const lists = () => import("../upload/upload-list.js");
const steps = () => import("../upload/upload-steps.js");

export function addUploadCommands(program: Command, terminal: Terminal): void {
  const group = serviceGroup(program, "upload", "unfinished multipart uploads; `casfs archive put` does all of it");
  addLists(group, terminal);
  addInit(group, terminal);
  addPart(group, terminal);
  addComplete(group, terminal);
  const abort = inUpload(group, "abort", "give an upload up; the service forgets its parts");
  addServiceOptions(abort).action(async (vault, upload, flags) =>
    (await steps()).abort({ vault, upload }, flags, terminal),
  );
}

function addLists(group: ServiceCommand, terminal: Terminal): void {
  const list = paged(inVault(group, "ls", "list the unfinished uploads of a vault"));
  addServiceOptions(list).action(async (vault, flags) => (await lists()).listUploads(vault, flags, terminal));
  const parts = paged(inUpload(group, "parts", "list the parts that the service has"));
  addServiceOptions(parts).action(async (vault, upload, flags) =>
    (await lists()).listParts({ vault, upload }, flags, terminal),
  );
}

function addInit(group: ServiceCommand, terminal: Terminal): void {
  const init = inVault(group, "init", "begin an upload; prints its id")
    .requiredOption("--part-size <SIZE>", "of all parts but the last: 1MiB times a power of two", sizeArgument)
    .option("--description <TEXT>", "kept with the archive", descriptionArgument);
  addServiceOptions(init).action(async (vault, flags) => (await steps()).init(vault, flags, terminal));
}

function addPart(group: ServiceCommand, terminal: Terminal): void {
  const part = inUpload(group, "part", "send one part: the bytes from --start to --end of FILE, at that place")
    .argument("<FILE>", "the whole file, of which the part is read")
    .option("--start <SIZE>", "first byte of the part (default: 0)", sizeArgument)
    .option("--end <SIZE>", "first byte behind the part (default: the end of FILE)", sizeArgument);
  addServiceOptions(part).action(async (vault, upload, file, flags) =>
    (await steps()).sendPart({ vault, upload, file }, flags, terminal),
  );
}

function addComplete(group: ServiceCommand, terminal: Terminal): void {
  const complete = inUpload(group, "complete", "make an archive of the parts; prints its id")
    .option("--file <FILE>", "what was uploaded, for its size and tree hash")
    .option("--size <SIZE>", "of the archive, in place of --file", sizeArgument)
    .option("--tree-hash <HEX>", "of the archive, in place of --file");
  addServiceOptions(complete).action(async (vault, upload, flags) =>
    (await steps()).complete({ vault, upload }, flags, terminal),
  );
}

function inVault(group: Command, name: string, description: string): Command {
  return group.command(name).description(description).argument("<VAULT>", "its name", vaultArgument);
}

function inUpload(group: Command, name: string, description: string): Command {
  return inVault(group, name, description).argument("<UPLOAD_ID>", "as `init` and `ls` print it", uploadArgument);
}

function paged(command: Command): Command {
  return command
    .option("--limit <N>", "at most so many, and a marker for the others (default: all)", pageLimitArgument)
    .option("--marker <MARKER>", "go on where a list with --limit ended")
    .option("--bytes", "sizes in bytes");
}
