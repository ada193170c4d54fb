/** `casfs job`: retrievals, inventories and COS transfers. Grammar only; the work is loaded when it is asked for. */

import { type Command, Option } from "commander";
import { retrievalTiers } from "../../protocol/service.js";
import {
  archiveArgument,
  dateArgument,
  flagArgument,
  inventoryLimitArgument,
  jobArgument,
  pageLimitArgument,
  rangeArgument,
  sizeArgument,
  urlArgument,
  vaultArgument,
} from "../arguments.js";
import { addServiceOptions, addTransferSettings, type ServiceCommand, serviceGroup } from "../service-command.js";
import type { Terminal } from "../terminal.js";

const lists = () => import("../job/job-list.js");
const orders = () => import("../job/job-start.js");
const fetches = () => import("../job/job-fetch.js");

export function addJobCommands(program: Command, terminal: Terminal): void {
  const group = serviceGroup(program, "job", "start, list and describe jobs, and fetch what they have made");
  addList(group, terminal);
  addStart(group, terminal);
  addDescribe(group, terminal);
  addFetch(group, terminal);
}

function addList(group: ServiceCommand, terminal: Terminal): void {
  const list = group
    .command("ls")
    .description("list the running jobs of a vault and those whose output can still be fetched")
    .argument("<VAULT>", "its name", vaultArgument)
    .option("--completed <true|false>", "only jobs that have ended, or only those that have not", flagArgument)
    .addOption(new Option("--status <STATUS>", "only these").choices(["in-progress", "succeeded", "failed"]))
    .option("--limit <N>", "at most so many, and a marker for the others (default: all)", pageLimitArgument)
    .option("--marker <MARKER>", "go on where a list with --limit ended")
    .option("--bytes", "sizes in bytes");
  addServiceOptions(list).action(async (vault, flags) => (await lists()).list(vault, flags, terminal));
}

function addStart(group: ServiceCommand, terminal: Terminal): void {
  const start = group
    .command("start")
    .description("start a job: with ARCHIVE_ID a retrieval, without an inventory; with --bucket a COS transfer")
    .argument("<VAULT>", "its name", vaultArgument)
    .argument("[ARCHIVE_ID]", "what to retrieve, or to push to --bucket", archiveArgument)
    .option("--description <TEXT>", "what the job is called")
    .option("--callback <URL>", "where the service reports the end of the job", urlArgument)
    .option("--yes", "go on although it costs money");
  start
    .optionsGroup("Of a retrieval:")
    .addOption(new Option("--tier <TIER>", "how fast, and how dear (default: standard)").choices(retrievalTiers))
    .option("--range <FIRST-LAST>", "only these bytes, both included; in whole MiB", rangeArgument)
    .option("--start <SIZE>", "only the bytes from here on", sizeArgument)
    .option("--size <SIZE>", "only so many bytes", sizeArgument);
  start
    .optionsGroup("Of an inventory:")
    .addOption(new Option("--format <FORMAT>", "of the output (default: json)").choices(["json", "csv"]))
    .option("--start-date <DATE>", "only archives created at or after", dateArgument)
    .option("--end-date <DATE>", "only archives created at or before", dateArgument)
    .option("--limit <N>", "at most so many archives, up to 10000", inventoryLimitArgument)
    .option("--marker <MARKER>", "go on where an inventory ended");
  start
    .optionsGroup("Of a COS transfer:")
    .option("--bucket <DOMAIN>", "push ARCHIVE_ID to this bucket; without ARCHIVE_ID, pull an archive from it")
    .option("--object <PATH>", "the object in the bucket")
    .option("--archive-description <TEXT>", "of the archive that is pulled");
  addServiceOptions(start.optionsGroup("Options:")).action(async (vault, archive, flags) =>
    (await orders()).start(vault, archive, flags, terminal),
  );
}

function addDescribe(group: ServiceCommand, terminal: Terminal): void {
  const describe = group
    .command("describe")
    .description("what the service says about a job")
    .argument("<VAULT>", "its name", vaultArgument)
    .argument("<JOB_ID>", "as `start` has printed it", jobArgument);
  addServiceOptions(describe).action(async (vault, job, flags) =>
    (await lists()).describe(vault, job, flags, terminal),
  );
}

function addFetch(group: ServiceCommand, terminal: Terminal): void {
  const fetch = group
    .command("fetch")
    .description("download the output of a finished job; an interrupted download goes on where it was")
    .argument("<VAULT>", "its name", vaultArgument)
    .argument("<JOB_ID>", "as `start` has printed it", jobArgument)
    .argument("<FILE>", "where to; - is standard output")
    .option("--range <FIRST-LAST>", "only these bytes of the output, both included", rangeArgument)
    .option("--start <SIZE>", "only the bytes from here on", sizeArgument)
    .option("--size <SIZE>", "only so many bytes", sizeArgument)
    .option("--wait", "wait until the job has finished")
    .option("-f, --force", "replace FILE when it is there");
  addServiceOptions(addTransferSettings(fetch, "parallel")).action(async (vault, job, file, flags) =>
    (await fetches()).fetchOutput({ vault, job, file }, flags, terminal),
  );
}
