/** Waits for a job while a person may be looking. */

import { systemClock } from "../../app/system-clock.js";
import { CancelledError, ServiceError } from "../../domain/errors.js";
import type { JobId, VaultName } from "../../domain/ids.js";
import type { JobDescription } from "../../protocol/service.js";
import { JobPoller } from "../../restore/job-poller.js";
import { showWaiting } from "../progress.js";
import type { ServiceSession } from "../service-session.js";

/** The job when it has succeeded. @throws ServiceError "refused" when it has failed, with what the service says. */
export async function succeededJob(session: ServiceSession, vault: VaultName, job: JobId): Promise<JobDescription> {
  const ended = await endedJob(session, vault, job);
  if (ended.status === "succeeded") return ended;
  throw new ServiceError("refused", `Cannot use the job ${job}: it has failed: ${ended.statusMessage}`);
}

/** The job when it is no longer in progress. */
export async function endedJob(session: ServiceSession, vault: VaultName, job: JobId): Promise<JobDescription> {
  const { service, observer, signal, terminal } = session;
  const now = await service.describeJob(vault, job, { signal });
  if (now.status !== "in-progress") return now;
  if (!terminal.hasStatus) terminal.tell(`casfs: waiting for the job ${job}`);
  using _waiting = showWaiting(terminal, `waiting for the job ${job.slice(0, 12)}…`);
  const poller = new JobPoller({ service, clock: systemClock, observer });
  try {
    return await poller.wait(vault, job, { signal });
  } finally {
    await poller.close(new CancelledError("Waiting"));
  }
}
