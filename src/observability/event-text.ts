/** What each event means to a person: how much it matters, and one line. Pure. */

import type { CasfsEvent } from "../domain/events.js";
import { formatDuration, formatSize } from "../lib/amount-text.js";

export type EventLevel = "error" | "warn" | "info" | "debug";

export interface EventText {
  readonly level: EventLevel;
  readonly text: string;
}

type EventOf<T extends CasfsEvent["type"]> = Extract<CasfsEvent, { readonly type: T }>;
type TextTable = { readonly [T in CasfsEvent["type"]]: (event: EventOf<T>) => EventText };

const debug = (text: string): EventText => ({ level: "debug", text });
const info = (text: string): EventText => ({ level: "info", text });
const warn = (text: string): EventText => ({ level: "warn", text });
const failure = (text: string): EventText => ({ level: "error", text });

// A new event does not compile until somebody has said what it means.
const texts: TextTable = {
  "service-call": ({ operation, durationMs, outcome, message }) =>
    debug(`${operation}: ${outcome} in ${formatDuration(durationMs)}${message === undefined ? "" : ` (${message})`}`),
  "service-retry": ({ operation, attempt, delayMs, message }) =>
    warn(`${operation} failed, attempt ${attempt}; again in ${formatDuration(delayMs)}: ${message}`),
  "content-sealed": ({ content, sizeBytes }) => debug(`content ${content} is complete, ${formatSize(sizeBytes)}`),
  "upload-started": ({ content, vault, sizeBytes, parts }) =>
    info(`uploading content ${content} to ${vault}: ${formatSize(sizeBytes)}${parts > 1 ? ` in ${parts} parts` : ""}`),
  "upload-streaming": ({ content, vault, partSizeBytes }) =>
    info(`uploading content ${content} to ${vault} while it is written, in parts of ${formatSize(partSizeBytes)}`),
  "upload-resumed": ({ content, partsKept }) =>
    info(`resuming the upload of content ${content}; ${partsKept} parts are in the vault already`),
  "upload-confirmed": ({ content, archiveId, sizeBytes, durationMs }) =>
    info(
      `archived content ${content}: ${formatSize(sizeBytes)} as ${short(archiveId)} in ${formatDuration(durationMs)}`,
    ),
  "upload-unneeded": ({ content, archiveId, sizeBytes }) =>
    info(`content ${content} is what was archived before: ${formatSize(sizeBytes)} as ${short(archiveId)}`),
  "upload-failed": ({ content, retryInMs, message }) =>
    failure(`the upload of content ${content} failed; again in ${formatDuration(retryInMs)}: ${message}`),
  "writers-waiting": ({ reason }) => warn(`writers wait for uploads: ${reason}`),
  "writers-continue": ({ afterMs }) => info(`no writer waits for uploads any more, after ${formatDuration(afterMs)}`),
  "archive-deleted": ({ vault, archiveId }) => info(`deleted archive ${short(archiveId)} of ${vault}`),
  "recall-started": ({ archiveId, sizeBytes, joined }) =>
    info(
      joined
        ? `waiting for a running recall of ${short(archiveId)}, ${formatSize(sizeBytes)}`
        : `recalling ${short(archiveId)}, ${formatSize(sizeBytes)}`,
    ),
  "recall-landed": ({ archiveId, sizeBytes, durationMs }) =>
    info(`recalled ${short(archiveId)}, ${formatSize(sizeBytes)} in ${formatDuration(durationMs)}`),
  "recall-refused": ({ pid, command, path, message, repeats }) => {
    const who = pid > 0 ? ` to process ${pid} (${command ?? "?"})` : "";
    const others = repeats === 0 ? "" : `; ${repeats} more like it since the last line`;
    return warn(`refused the recall of ${path}${who}: ${message}${others}`);
  },
  "recall-failed": ({ archiveId, message }) => failure(`the recall of ${short(archiveId)} failed: ${message}`),
  "recall-withdrawn": ({ archiveId }) =>
    info(`nobody waits for the recall of ${short(archiveId)} any more; no job was ordered`),
  "piece-corrupt": ({ archiveId, start, end }) =>
    failure(`bytes ${start}-${end - 1} of ${short(archiveId)} arrived damaged and were not used`),
  "content-evicted": ({ archive, sizeBytes }) =>
    debug(`dropped the local copy of archive ${archive}, ${formatSize(sizeBytes)}`),
  "inventory-started": ({ vault }) => info(`asked for an inventory of ${vault}`),
  "inventory-merged": ({ vault, archives, durationMs }) =>
    info(`the inventory of ${vault} is in the catalog: ${archives} archives in ${formatDuration(durationMs)}`),
  "inventory-failed": ({ vault, message }) => failure(`the inventory of ${vault} failed: ${message}`),
  "archives-missing": ({ vault, archives }) =>
    failure(`${archives} archives are not in vault ${vault} any more; \`casfs status\` names their files`),
  "vault-missing": ({ vault }) =>
    failure(
      `the service has no vault ${vault} any more; what is staged for it is kept: \`casfs vault create ${vault}\``,
    ),
  "vault-held": ({ message }) => failure(message),
  "vault-taken-over": ({ vault }) => info(`this state directory writes to vault ${vault} from now on`),
  "request-failed": ({ operation, inode, message }) => warn(`${operation} of inode ${inode} failed: ${message}`),
  mounted: ({ mountpoint }) => info(`mounted on ${mountpoint}`),
  unmounted: ({ mountpoint }) => info(`unmounted ${mountpoint}`),
  warning: ({ message }) => warn(message),
};

export function eventText<T extends CasfsEvent["type"]>(event: EventOf<T>): EventText {
  const type: T = event.type as T;
  return texts[type](event);
}

/** Real archive ids have 128 characters; the structured line has all of them. */
function short(id: string): string {
  return id.length <= 14 ? id : `${id.slice(0, 12)}…`;
}
