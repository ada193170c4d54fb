/** The work of `casfs job start`. */

import { byteCount } from "../../domain/bytes.js";
import type { ArchiveId, VaultName } from "../../domain/ids.js";
import type { RetrievalTier as TierName } from "../../protocol/service.js";
import type { JobParameters, RetrievalTier } from "../../sdk/index.js";
import { knownArchives } from "../archive/known-archives.js";
import { chosenSpan, type RangeOptions } from "../arguments.js";
import { agreedToCost, checkTier, retrievalLine } from "../cost-question.js";
import { CommandLineError } from "../failure.js";
import { jsonOutput } from "../output.js";
import { attempting, type ServiceSession, withService } from "../service-session.js";
import type { Terminal } from "../terminal.js";

interface StartFlags extends RangeOptions {
  readonly json?: boolean;
  readonly yes?: boolean;
  readonly description?: string;
  readonly callback?: string;
  readonly tier?: TierName;
  readonly format?: "json" | "csv";
  readonly startDate?: Date;
  readonly endDate?: Date;
  readonly limit?: number;
  readonly marker?: string;
  readonly bucket?: string;
  readonly object?: string;
  readonly archiveDescription?: string;
}

export async function start(
  vault: VaultName,
  archive: ArchiveId | undefined,
  flags: StartFlags,
  terminal: Terminal,
): Promise<void> {
  const parameters = jobParameters(archive, flags);
  await withService(flags, terminal, async (session) => {
    if (archive !== undefined && !(await agreed(session, { vault, archive, flags }))) return;
    const call = session.api.initiateJob(vault, parameters, { signal: session.signal });
    const { data } = await attempting(`start the job in the vault ${vault}`, call);
    if (flags.json) return terminal.print(jsonOutput({ ...data, type: parameters.type }));
    terminal.print(data.jobId);
    const isFetched = parameters.type === "archive-retrieval" || parameters.type === "inventory-retrieval";
    if (isFetched) terminal.tell(`casfs: \`casfs job fetch --wait ${vault} JOB_ID FILE\` downloads what it makes`);
  });
}

/** What the command line asks for. @throws CommandLineError for options that do not fit the kind of job. */
function jobParameters(archive: ArchiveId | undefined, flags: StartFlags): JobParameters {
  const kind = kindOf(archive, flags);
  refuseOthers(kind, flags);
  const common = { description: flags.description, callBackUrl: flags.callback };
  const { bucket, object } = flags;
  if (kind === "inventory") {
    const { startDate, endDate, limit, marker } = flags;
    const format = flags.format === "csv" ? "CSV" : "JSON";
    return { ...common, type: "inventory-retrieval", format, startDate, endDate, limit, marker };
  }
  const range = spanOf(flags);
  const retrieval = {
    ...common,
    archiveId: archive ?? "",
    tier: flags.tier && tierCodes[flags.tier],
    byteRange: range,
  };
  if (kind === "retrieval") return { ...retrieval, type: "archive-retrieval" };
  if (bucket === undefined || object === undefined) {
    throw new CommandLineError(`Cannot start a COS transfer without --${bucket === undefined ? "bucket" : "object"}`);
  }
  if (kind === "push") return { ...retrieval, type: "push-to-cos", bucket, object };
  const { archiveDescription } = flags;
  return { ...common, type: "pull-from-cos", bucket, object, range, archiveDescription };
}

type Kind = "retrieval" | "inventory" | "push" | "pull";

const kindNames: Record<Kind, string> = {
  retrieval: "a retrieval",
  inventory: "an inventory",
  push: "a push to COS",
  pull: "a pull from COS",
};
const rangeKeys = ["range", "start", "size"] as const;
const cosKeys = ["bucket", "object"] as const;
const keysOfKind: Record<Kind, readonly (keyof StartFlags)[]> = {
  retrieval: ["tier", ...rangeKeys],
  inventory: ["format", "startDate", "endDate", "limit", "marker"],
  push: ["tier", ...rangeKeys, ...cosKeys],
  pull: [...rangeKeys, ...cosKeys, "archiveDescription"],
};
const tierCodes: Record<TierName, RetrievalTier> = { expedited: "Expedited", standard: "Standard", bulk: "Bulk" };

function kindOf(archive: ArchiveId | undefined, { bucket, object }: StartFlags): Kind {
  const isTransfer = bucket !== undefined || object !== undefined;
  if (archive === undefined) return isTransfer ? "pull" : "inventory";
  return isTransfer ? "push" : "retrieval";
}

/** cascmd drops such options; here nothing is ordered that was not meant. */
function refuseOthers(kind: Kind, flags: StartFlags): void {
  const others = Object.values(keysOfKind).flat();
  const wrong = others.find((key) => flags[key] !== undefined && !keysOfKind[kind].includes(key));
  if (wrong === undefined) return;
  const name = wrong.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const hint = kind === "inventory" ? { hint: "With an ARCHIVE_ID it would be a retrieval" } : {};
  throw new CommandLineError(`Cannot use --${name} with ${kindNames[kind]}`, hint);
}

function spanOf(flags: StartFlags) {
  const span = chosenSpan(flags);
  if (span === undefined) return undefined;
  return span.end === undefined ? `${span.start}-` : { start: span.start, end: span.end };
}

async function agreed(
  { service, config, isFree, signal, terminal }: ServiceSession,
  { vault, archive, flags }: { readonly vault: VaultName; readonly archive: ArchiveId; readonly flags: StartFlags },
): Promise<boolean> {
  if (isFree) return true;
  const tier = flags.tier ?? "standard";
  const known = (await knownArchives(service, vault, { archives: [archive], signal })).get(archive);
  checkTier(known?.sizeBytes ?? null, tier);
  const span = chosenSpan(flags);
  const end = span?.end ?? known?.sizeBytes;
  const size = end === undefined ? null : byteCount(Math.max(0, end - (span?.start ?? 0)));
  return agreedToCost(terminal, { lines: [retrievalLine(config.prices, size, tier)], yes: flags.yes, signal });
}
