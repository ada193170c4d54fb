/** What opens may still recall, and what was refused, in words. Pure. */

import type { BudgetReport, RecallLimitReport, RefusalReport } from "../app/control-api.js";
import { ms } from "../domain/time.js";
import { formatDuration, formatSize } from "../lib/amount-text.js";
import { periodText } from "../restore/recall-budget.js";
import { counted } from "./terminal.js";

/** Refusals that are told one by one: `--json` has more. */
const refusalsShown = 3;

/** Nothing when there is no limit and nothing was refused. */
export function budgetTexts({ bytes, cost, currency, refused }: BudgetReport, now: number): string[] {
  const money = (amount: number) => `${amount.toFixed(2)} ${currency}`;
  const limits = [
    ...(bytes === null ? [] : [limitText(bytes, formatSize, now)]),
    ...(cost === null ? [] : [limitText(cost, money, now)]),
  ];
  return [...limits, ...refused.recent.slice(0, refusalsShown).map((refusal) => refusalText(refusal, now))];
}

function limitText(
  { used, limit, periodMs, freesAt }: RecallLimitReport,
  amount: (value: number) => string,
  now: number,
) {
  const frees = freesAt === null ? "" : `, some of it free again in ${formatDuration(Date.parse(freesAt) - now)}`;
  return `${amount(used)} of ${amount(limit)} per ${periodText(ms(periodMs))} recalled by opens${frees}`;
}

function refusalText({ reason, pid, command, path, sizeBytes, at, count }: RefusalReport, now: number): string {
  const who = pid > 0 ? ` to process ${pid} (${command ?? "?"})` : "";
  const why = reason === "denied" ? "--recall-deny" : "over the limit";
  const ago = `${formatDuration(now - Date.parse(at))} ago`;
  const times = count === 1 ? "" : `, ${counted(count, "time")} in all`;
  return `refused${who}, ${why}: ${path}, ${formatSize(sizeBytes)}, ${ago}${times}`;
}
