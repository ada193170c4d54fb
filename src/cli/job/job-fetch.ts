/** The work of `casfs job fetch`. */

import { FileSystemError } from "../../domain/errors.js";
import type { JobId, VaultName } from "../../domain/ids.js";
import { printable } from "../../lib/printable.js";
import type { JobDescription } from "../../protocol/service.js";
import { chosenSpan, type RangeOptions, spanWithin } from "../arguments.js";
import { jsonOutput } from "../output.js";
import { type ServiceSession, withService } from "../service-session.js";
import type { Terminal } from "../terminal.js";
import { endedJob } from "./job-wait.js";
import { downloadTo, wholeOutput } from "./output-download.js";

interface FetchFlags extends RangeOptions {
  readonly json?: boolean;
  readonly wait?: boolean;
  readonly force?: boolean;
}

export interface FetchPlace {
  readonly vault: VaultName;
  readonly job: JobId;
  readonly file: string;
}

export async function fetchOutput(place: FetchPlace, flags: FetchFlags, terminal: Terminal): Promise<void> {
  const span = chosenSpan(flags);
  await withService(flags, terminal, async (session) => {
    const job = await readyJob(session, place, flags);
    const whole = wholeOutput(job);
    const range = span && spanWithin(span, whole.sizeBytes);
    const nextMarker = nextMarkerOf(job);
    const done = await downloadTo(session, { ...place, range, whole, overwrite: flags.force ?? false });
    // On standard output are the bytes already; a document behind them would become a part of them.
    if (flags.json && place.file !== "-") {
      terminal.print(jsonOutput({ jobId: place.job, ...done, nextMarker }));
    } else if (nextMarker !== null) {
      terminal.tell(
        `casfs: the vault has more archives: \`casfs job start ${place.vault} --marker ${printable(nextMarker)}\``,
      );
    }
  });
}

async function readyJob(session: ServiceSession, { vault, job }: FetchPlace, { wait }: FetchFlags) {
  const { service, signal } = session;
  session.onInterrupt = "The job goes on, and its output is kept for 24 hours";
  const described = wait ? await endedJob(session, vault, job) : await service.describeJob(vault, job, { signal });
  if (described.status === "succeeded") return described;
  const isFailed = described.status === "failed";
  const why = isFailed ? `it has failed: ${described.statusMessage}` : "it is still in progress";
  const hint = isFailed ? {} : { hint: "Try again later, or add --wait" };
  throw new FileSystemError("not-ready", `Cannot fetch the output of the job ${job}: ${why}`, hint);
}

const nextMarkerOf = (job: JobDescription) => (job.action === "retrieve-inventory" ? job.nextMarker : null);
