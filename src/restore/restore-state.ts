/** What may follow what in one recall. Pure. */

import { invariant } from "../lib/invariant.js";

/**
 * - "requesting": the intent is journaled; whether there is a job is being found out;
 * - "queued": there is none, and ordering one now would be more than line or cache can take;
 * - "retrieving": the service fetches the archive from cold storage;
 * - "landing": the output is being downloaded and verified.
 */
export type RestoreState = "requesting" | "queued" | "retrieving" | "landing" | "landed" | "failed";
export type RestoreEvent = "held" | "let-go" | "job-known" | "job-succeeded" | "job-gone" | "verified" | "gave-up";

const transitions: Record<RestoreState, Partial<Record<RestoreEvent, RestoreState>>> = {
  requesting: { held: "queued", "job-known": "retrieving", "gave-up": "failed" },
  queued: { "let-go": "requesting", "gave-up": "failed" },
  // A job that the service has forgotten, or whose output has expired, is followed by one new job.
  retrieving: { "job-succeeded": "landing", "job-gone": "requesting", "gave-up": "failed" },
  landing: { verified: "landed", "job-gone": "requesting", "gave-up": "failed" },
  landed: {},
  failed: {},
};

/** @throws Error for an event that cannot happen in `state`; nothing lands that was not verified. */
export function nextRestoreState(state: RestoreState, event: RestoreEvent): RestoreState {
  const next = transitions[state][event];
  invariant(next !== undefined, `${event} of a recall in state ${state}`);
  return next;
}
