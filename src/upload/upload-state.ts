/** What may follow what in one upload. Pure; the journal's steps and "archived". */

import { invariant } from "../lib/invariant.js";
import type { UploadProgress } from "./ports.js";

export type UploadState = UploadProgress["step"] | "archived";
export type UploadEvent = "will-send" | "will-initiate" | "did-initiate" | "will-complete" | "did-archive" | "did-lose";

// Every request may be made again when its answer was lost, so "will" events repeat in the state they lead to. A
// Complete that was refused leads back to the parts only through the service, hence not in the journal: List Parts
// tells what is missing, and "will-complete" is then journaled again.
const transitions: Record<UploadState, Partial<Record<UploadEvent, UploadState>>> = {
  sealed: { "will-send": "sending", "will-initiate": "initiating" },
  sending: { "will-send": "sending", "will-initiate": "initiating", "did-archive": "archived" },
  initiating: { "will-send": "sending", "will-initiate": "initiating", "did-initiate": "parts" },
  parts: { "will-complete": "completing", "did-lose": "sealed" },
  completing: { "will-complete": "completing", "did-archive": "archived", "did-lose": "sealed" },
  archived: {},
};

/** @throws Error for an event that cannot happen in `state`; a content is archived once. */
export function nextUploadState(state: UploadState, event: UploadEvent): UploadState {
  const next = transitions[state][event];
  invariant(next !== undefined, `${event} of an upload in state ${state}`);
  return next;
}
