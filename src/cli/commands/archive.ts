/** `casfs archive`: the archives of a vault. Grammar only; the work is loaded when it is asked for. */

import type { Command } from "commander";
import {
  archiveArgument,
  archiveArguments,
  descriptionArgument,
  sizeArgument,
  uploadArgument,
  vaultArgument,
} from "../arguments.js";
import { addServiceOptions, addTransferSettings, type ServiceCommand, serviceGroup } from "../service-command.js";
import type { Terminal } from "../terminal.js";

const lists = () => import("../archive/archive-list.js");
const uploads = () => import("../archive/archive-put.js");
const downloads = () => import("../archive/archive-get.js");
const removals = () => import("../archive/archive-remove.js");
const hashes = () => import("../archive/archive-hash.js");

export function addArchiveCommands(program: Command, terminal: Terminal): void {
  const group = serviceGroup(program, "archive", "list, upload, retrieve and delete the archives of a vault");
  addList(group, terminal);
  addPut(group, terminal);
  addGet(group, terminal);
  addRemove(group, terminal);
  addHash(group, terminal);
}

function addList(group: ServiceCommand, terminal: Terminal): void {
  const list = group
    .command("ls")
    .description("list the archives of a vault: joins or starts an inventory job, and waits for it")
    .argument("<VAULT>", "its name", vaultArgument)
    .option("--fresh", "start a new job even when an inventory is there that can still be fetched")
    .option("--bytes", "sizes in bytes");
  addServiceOptions(list).action(async (vault, flags) => (await lists()).list(vault, flags, terminal));
}

function addPut(group: ServiceCommand, terminal: Terminal): void {
  const put = group
    .command("put")
    .description("upload files; prints the archive ids. An interrupted upload goes on when the command is repeated")
    .argument("<VAULT>", "its name", vaultArgument)
    .argument("<FILE...>", "one archive each; - is standard input")
    .option("--description <TEXT>", "kept with the archive (default: the name of the file)", descriptionArgument)
    .option("--upload-id <ID>", "go on with this upload, for one FILE", uploadArgument);
  addTransferSettings(put, "multipartThreshold", "partSize", "parallel");
  addServiceOptions(put).action(async (vault, files, flags) => (await uploads()).put(vault, files, flags, terminal));
}

function addGet(group: ServiceCommand, terminal: Terminal): void {
  const get = group
    .command("get")
    .description("retrieve an archive into a file: joins or starts a job, waits, downloads and verifies")
    .argument("<VAULT>", "its name", vaultArgument)
    .argument("<ARCHIVE_ID>", "as `put` and `ls` print it", archiveArgument)
    .argument("<FILE>", "where to; - is standard output")
    .option("--no-wait", "only see to it that a job runs, and print its id")
    .option("--yes", "go on although it costs money")
    .option("-f, --force", "replace FILE when it is there");
  addServiceOptions(addTransferSettings(get, "tier", "parallel")).action(async (vault, archive, file, flags) =>
    (await downloads()).get({ vault, archive, file }, flags, terminal),
  );
}

function addRemove(group: ServiceCommand, terminal: Terminal): void {
  const remove = group
    .command("rm")
    .description("delete archives for good")
    .argument("<VAULT>", "its name", vaultArgument)
    .argument("<ARCHIVE_ID...>", "as `put` and `ls` print them", archiveArguments)
    .option("--yes", "go on although it cannot be undone and may cost money");
  addServiceOptions(remove).action(async (vault, archives, flags) =>
    (await removals()).remove(vault, archives, flags, terminal),
  );
}

function addHash(group: ServiceCommand, terminal: Terminal): void {
  group
    .command("hash")
    .description("the linear and the tree hash of a file, as the service computes them; makes no request")
    .argument("<FILE>", "- is standard input")
    .option("--start <SIZE>", "only the bytes from here on", sizeArgument)
    .option("--end <SIZE>", "only the bytes before", sizeArgument)
    .option("--json", "for programs: stable JSON")
    .action(async (file, flags) => (await hashes()).hash(file, flags, terminal));
}
