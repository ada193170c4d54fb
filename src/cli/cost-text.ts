/** What files cost, and what was asked for, in words. Pure. */

import type { CostReport } from "../app/cost-tally.js";
import type { LedgerMonth, LedgerReport } from "../app/ledger-report.js";
import { formatDuration, formatSize } from "../lib/amount-text.js";
import { retrievalTiers } from "../protocol/service.js";
import { priceText, trafficText } from "./cost-question.js";
import { type Column, tableLines } from "./table.js";
import { counted } from "./terminal.js";

/** `now`: milliseconds since 1970. */
export function costLines(report: CostReport, now: number): string[] {
  const { stored, notArchived, trash } = report;
  const of = (price: number) => amountText(price, report.currency);
  return [
    ...freeLines(report),
    row(
      "storing",
      `${counted(stored.archives, "archive")}, ${formatSize(stored.bytes)}: ${of(stored.pricePerMonth)} a month`,
    ),
    ...(trash === null || trash.files === 0
      ? []
      : [row("", `of that in the trash: ${counted(trash.files, "file")}, ${formatSize(trash.bytes)}`)]),
    ...restoreLines(report),
    row("deleting", deletionText(report, now)),
    ...(notArchived.files === 0
      ? []
      : [row("", `not archived yet: ${counted(notArchived.files, "file")}, ${formatSize(notArchived.bytes)}`)]),
  ];
}

function restoreLines({ restore, currency }: CostReport): string[] {
  if (restore.archives === 0) return [row("restoring", "nothing to restore: all of it is here")];
  const running = restore.running === 0 ? "" : ` (${restore.running} of them already on the way)`;
  const what = `${counted(restore.archives, "archive")}${running}, ${formatSize(restore.bytes)} not here`;
  const tiers = retrievalTiers.map((tier) => {
    const { price, readyInMs } = restore.tiers[tier];
    const ready = `ready in ${formatDuration(readyInMs.from)} to ${formatDuration(readyInMs.to)}`;
    return row("", `${tier.padEnd(9)}  ${amountText(price, currency)}, ${ready}`);
  });
  const traffic = trafficText(restore.trafficPrice, currency).replace(/^; /, "");
  return [row("restoring", what), ...tiers, ...(traffic === "" ? [] : [row("", traffic)])];
}

function deletionText({ deletion: { price, young, freeAt }, currency }: CostReport, now: number): string {
  if (freeAt === null) return `${amountText(price, currency)}, as everything is old enough`;
  const until = formatDuration(Date.parse(freeAt) - now);
  return `${amountText(price, currency)} for ${counted(young, "archive")} billed for a minimum time; nothing in ${until}`;
}

const ledgerColumns: readonly Column[] = [
  { title: "MONTH" },
  { title: "RETRIEVED", align: "right" },
  { title: "JOBS", align: "right" },
  { title: "UPLOADED", align: "right" },
  { title: "ARCHIVES", align: "right" },
  { title: "DELETED", align: "right" },
  { title: "INVENTORIES", align: "right" },
  { title: "REQUESTS", align: "right" },
  { title: "FETCHED", align: "right" },
  { title: "PRICE", align: "right" },
];

export function ledgerLines(report: LedgerReport): string[] {
  if (report.months.length === 0) return ["nothing was asked of the service"];
  const rows = report.months.map((month) => ledgerRow(month));
  const tiers = report.months.flatMap((month) => tierLines(month, report.currency));
  const total = report.months.reduce((sum, { price }) => sum + price, 0);
  const traffic = report.months.reduce((sum, { downloads }) => sum + downloads.trafficPrice, 0);
  return [
    ...freeLines(report),
    ...tableLines(ledgerColumns, rows),
    ...tiers,
    `in all ${amountText(total, report.currency)}, without storage${trafficText(traffic, report.currency)}`,
  ];
}

function ledgerRow(report: LedgerMonth): string[] {
  const { month, retrievals, uploads, deletions, inventories, requests, downloads, price } = report;
  const retrieved = Object.values(retrievals).reduce((sum, { bytes }) => sum + bytes, 0);
  const jobs = Object.values(retrievals).reduce((sum, { count }) => sum + count, 0);
  return [
    month,
    formatSize(retrieved),
    String(jobs),
    formatSize(uploads.bytes),
    String(uploads.count),
    String(deletions.count),
    String(inventories),
    String(requests.writes + requests.reads),
    formatSize(downloads.bytes),
    price.toFixed(2),
  ];
}

/** What made the price of a month. */
function tierLines({ month, retrievals, deletions, requests }: LedgerMonth, currency: string): string[] {
  const tiers = retrievalTiers.flatMap((tier) => {
    const { count, bytes, price } = retrievals[tier];
    if (count === 0) return [];
    return [`${month}  ${counted(count, `${tier} retrieval`)}, ${formatSize(bytes)}: ${priceText(price, currency)}`];
  });
  const deleted = `${counted(deletions.count, "archive")} deleted, ${formatSize(deletions.bytes)}`;
  return [
    ...tiers,
    ...(deletions.price > 0
      ? [`${month}  ${deleted} before the minimum time: ${priceText(deletions.price, currency)}`]
      : []),
    ...(requests.price > 0
      ? [
          `${month}  ${requests.writes} requests that write, ${requests.reads} that read: ${priceText(requests.price, currency)}`,
        ]
      : []),
  ];
}

function freeLines({ free }: { readonly free: boolean }): string[] {
  return free ? ["the service is on this machine and costs nothing; at the configured prices it would be:"] : [];
}

function amountText(price: number, currency: string): string {
  return price === 0 ? "nothing" : priceText(price, currency);
}

function row(title: string, text: string): string {
  return `${title.padEnd(11)}${text}`;
}
