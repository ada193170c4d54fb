/**
 * A status report as lines for people: what is wrong first, then what is going on. Pure.
 *
 * A mount that an earlier casfs has begun, and that still runs, does not tell of failed recalls, of parts of files, nor
 * why a recall cannot go on.
 */

import type {
  FailedRecallReport,
  RecallReport,
  StatusReport,
  UploadReport,
  VaultReport,
  WaitingReport,
} from "../app/control-api.js";
import { formatDuration, formatSize } from "../lib/amount-text.js";
import { budgetTexts } from "./budget-text.js";
import { counted } from "./terminal.js";

/** `now`: milliseconds since 1970, to tell how long ago and how long yet. */
export function statusLines(report: StatusReport, now: number): string[] {
  return [
    `${report.mountpoint}  process ${report.pid}, mounted ${ago(report.startedAt, now)}`,
    ...problems(report, now).map((problem) => `  ! ${problem}`),
    row("archives", serviceText(report)),
    row("state", report.stateDirectory),
    row("staged", stagedText(report)),
    row("cache", cacheText(report)),
    ...budgetLines(report, now),
    ...(report.trash.files === 0 ? [] : [row("trash", trashText(report, now))]),
    ...list("uploads", report.uploads, (upload) => uploadText(upload, now)),
    ...list("recalls", report.recalls, (recall) => recallText(recall, report.service, now)),
    ...list("waiting", report.waiting, (waiting) => waitingText(waiting, report.service, now)),
    ...list("vaults", report.vaults, (vault) => vaultText(vault, now)),
  ];
}

function row(title: string, text: string): string {
  return `  ${title.padEnd(10)}${text}`;
}

function budgetLines({ recallBudget }: StatusReport, now: number): string[] {
  return budgetTexts(recallBudget, now).map((text, index) => row(index === 0 ? "budget" : "", text));
}

/** Long lists are cut: `--json` has them all. */
const listedMax = 20;
const failuresListedMax = 5;

function list<T>(title: string, items: readonly T[], text: (item: T) => string): string[] {
  const shown = items.slice(0, listedMax).map((item, index) => row(index === 0 ? title : "", text(item)));
  const hidden = items.length - shown.length;
  return hidden === 0 ? shown : [...shown, row("", `and ${hidden} more`)];
}

function problems(report: StatusReport, now: number): string[] {
  const { uploads, recalls, failedRecalls = [], vaults, suspects, deletes, staged } = report;
  return [
    ...(staged.room === "stalled" ? ["writers get ENOSPC: staging is full, and no upload makes progress"] : []),
    ...vaults.flatMap(({ readOnly }) => readOnly ?? []),
    ...vaults.filter(({ gone }) => gone).map(({ name }) => goneText(name)),
    ...(report.missing.files === 0 ? [] : [missingText(report.missing)]),
    ...suspects.map(({ path, reason }) => `${path}: ${reason}`),
    ...uploadProblems(uploads, now),
    ...groupedBy(recalls, ({ lastError }) => lastError).map((same) => recallTrouble(same, now)),
    ...recallFailures(failedRecalls, now),
    ...vaults.filter(inventoryFailed).map(({ name, inventory }) => `${name}: its inventory failed: ${inventory}`),
    ...(deletes.lastError === null ? [] : [`archives could not be deleted in the vault: ${deletes.lastError}`]),
  ];
}

function goneText(name: string): string {
  return `${name}: the service has no such vault any more; what is staged is kept, and \`casfs vault create ${name}\` lets its uploads go on`;
}

function missingText({ files, paths }: StatusReport["missing"]): string {
  const shown = paths.slice(0, 3).join(", ");
  const more = files > 3 ? ` and ${files - 3} more` : "";
  return `not in the vault any more, though the service had confirmed it: ${shown}${more}`;
}

/** Many files that fail for one reason are one problem; those that are held have theirs at their vault. */
function uploadProblems(uploads: readonly UploadReport[], now: number): string[] {
  const failing = uploads.filter(({ state }) => state !== "held");
  return groupedBy(failing, ({ lastError }) => lastError).map((same) => uploadProblem(same, now));
}

/** Those that have one and the same reason, those without any left out. */
function groupedBy<T>(items: readonly T[], reasonOf: (item: T) => string | null): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const reason = reasonOf(item);
    if (reason == null) continue;
    const group = groups.get(reason) ?? [];
    group.push(item);
    groups.set(reason, group);
  }
  return [...groups.values()];
}

function recallTrouble(same: readonly RecallReport[], now: number): string {
  const { path, lastError } = same[0]!;
  const next = same.flatMap(({ nextAttemptAt }) => nextAttemptAt ?? []).sort()[0];
  const again = next === undefined ? "it is being tried again" : `again in ${until(next, now)}`;
  return `${withOthers(path, same.length, "its recall", "their recalls")} cannot go on: ${lastError}; ${again}`;
}

/** Most messages name a job, which is of one file: a batch that failed must not hide the rest. */
function recallFailures(failed: readonly FailedRecallReport[], now: number): string[] {
  const groups = groupedBy(failed, ({ reason }) => reason);
  const hidden = groups.slice(failuresListedMax).reduce((sum, { length }) => sum + length, 0);
  const shown = groups.slice(0, failuresListedMax).map((same) => recallFailure(same, now));
  return hidden === 0 ? shown : [...shown, `${counted(hidden, "more recall")} failed: --json has them all`];
}

function recallFailure(same: readonly FailedRecallReport[], now: number): string {
  const { path, reason, tier, failedAt } = same[0]!;
  const what = withOthers(path, same.length, "its recall", "their recalls");
  return `${what} failed ${ago(failedAt, now)} (${tier}): ${reason}; the next open asks again`;
}

function withOthers(path: string, count: number, one: string, several: string): string {
  return count === 1 ? `${path}: ${one}` : `${path} and ${counted(count - 1, "other file")}: ${several}`;
}

function uploadProblem(same: readonly UploadReport[], now: number): string {
  const { path, attempts, lastError } = same[0]!;
  const next = same.flatMap(({ nextAttemptAt }) => nextAttemptAt ?? []).sort()[0];
  const again = next === undefined ? "" : `; again in ${until(next, now)}`;
  const what =
    same.length === 1
      ? `${path}: its upload failed (${counted(attempts, "attempt")})`
      : `${path} and ${counted(same.length - 1, "other file")}: their uploads failed`;
  return `${what}: ${lastError}${again}`;
}

function serviceText({ service: { endpoint, dataDirectory } }: StatusReport): string {
  return dataDirectory === null ? endpoint : `on this machine only, in ${dataDirectory}`;
}

function stagedText({ staged, deletes }: StatusReport): string {
  const files = staged.files === 0 ? "nothing" : `${counted(staged.files, "file")}, ${formatSize(staged.bytes)}`;
  const deleting = deletes.pending === 0 ? "" : `; ${counted(deletes.pending, "archive")} to delete`;
  const used =
    staged.limitBytes === null ? "" : `, ${formatSize(staged.usedBytes)} of ${formatSize(staged.limitBytes)}`;
  return `${files} waiting to be archived${used}${deleting}`;
}

function cacheText({ cache }: StatusReport): string {
  const { files, bytes, limitBytes, pinned, partialFiles = 0, partialBytes = 0 } = cache;
  const kept = pinned === 0 ? "" : `, ${pinned} pinned`;
  const inPart =
    partialFiles === 0 ? "" : `, ${formatSize(partialBytes)} of it parts of ${counted(partialFiles, "file")}`;
  return `${counted(files, "file")}, ${formatSize(bytes)} of ${formatSize(limitBytes)}${kept}${inPart}`;
}

function trashText({ trash: { files, bytes, nextPurgeAt } }: StatusReport, now: number): string {
  const next = nextPurgeAt === null ? "" : `, the next is deleted for good in ${until(nextPurgeAt, now)}`;
  return `${counted(files, "file")}, ${formatSize(bytes)}${next}`;
}

function uploadText(upload: UploadReport, now: number): string {
  const { path, state, sizeBytes, sentBytes, parts, partsSent, nextAttemptAt } = upload;
  const sent = sentBytes > 0 ? `${percent(sentBytes, sizeBytes)} of ${formatSize(sizeBytes)}` : formatSize(sizeBytes);
  const inParts = parts > 1 ? `, ${partsSent} of ${parts} parts` : "";
  const next = nextAttemptAt === null ? "" : `, in ${until(nextAttemptAt, now)}`;
  return `${path}  ${sent}${inParts}, ${state}${next}`;
}

const heldText: Record<NonNullable<RecallReport["heldBy"]>, string> = {
  line: " until others are fetched",
  room: " until the cache has room",
};

function recallText(recall: RecallReport, service: StatusReport["service"], now: number): string {
  const { path, tier, state, range, sizeBytes, landedBytes, heldBy } = recall;
  const landed = landedBytes > 0 ? `${percent(landedBytes, sizeBytes)} of ` : "";
  const ready = landedBytes === 0 ? readyText(recall, service, now) : "";
  const held = heldBy === null ? "" : heldText[heldBy];
  const place = range == null ? "" : ` from ${formatSize(range.start)} on`;
  return `${path}  ${landed}${formatSize(sizeBytes)}${place}, ${tier}, ${state}${held}${ready}`;
}

function waitingText(waiting: WaitingReport, service: StatusReport["service"], now: number): string {
  const { pid, command, path, since, for: what, recall } = waiting;
  const file = what === "room" ? `room to write ${path}` : path;
  const who = `process ${pid} (${shortened(command)})`;
  const job = recall?.jobId == null ? "" : `, job ${recall.jobId.slice(0, 12)}…`;
  const state = recall === null ? "" : `: ${recall.tier}, ${recall.state}${job}${readyText(recall, service, now)}`;
  return `${who} waits for ${file} since ${formatDuration(now - Date.parse(since))}${state}`;
}

/** What is expected is what the real service publishes; a local one takes as long as it was told to. */
function readyText({ expectedAt }: Pick<RecallReport, "expectedAt">, service: StatusReport["service"], now: number) {
  return expectedAt === null || service.local ? "" : `, ready in about ${until(expectedAt, now)}`;
}

function vaultText(vault: VaultReport, now: number): string {
  const taken = vault.inventoryAt === null ? "" : `, inventory of ${ago(vault.inventoryAt, now)}`;
  const running = vault.inventory === "running" ? ", a new inventory is on its way" : "";
  const hidden = vault.visible ? "" : ", not shown before its first inventory is complete";
  return `${vault.name}${taken}${running}${hidden}`;
}

function inventoryFailed({ inventory }: VaultReport): boolean {
  return !["none", "running", "merged"].includes(inventory);
}

/** Command lines can be very long. */
function shortened(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 59)}…`;
}

function percent(part: number, whole: number): string {
  return whole === 0 ? "100%" : `${Math.floor((part / whole) * 100)}%`;
}

function ago(time: string, now: number): string {
  return `${formatDuration(now - Date.parse(time))} ago`;
}

function until(time: string, now: number): string {
  return formatDuration(Date.parse(time) - now);
}
