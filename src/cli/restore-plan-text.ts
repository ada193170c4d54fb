/** What a restore would order, in words. Pure. */

import type { RestorePlan } from "../app/control-api.js";
import { formatDuration, formatSize } from "../lib/amount-text.js";
import { isWorthAWord, priceText, trafficText } from "./cost-question.js";
import { counted } from "./terminal.js";

export interface PlannedMount {
  readonly plan: RestorePlan;
}

/** What nobody should order unasked: the jobs, and the traffic of what is fetched, where that is worth a word. */
export function totalPrice(plans: readonly RestorePlan[]): number {
  return plans.reduce(
    (total, plan) => total + plan.price + (isWorthAWord(plan.trafficPrice) ? plan.trafficPrice : 0),
    0,
  );
}

/** One line for each mount's order, and one for what is here already. */
export function planLines(plans: readonly RestorePlan[]): string[] {
  const [only] = plans;
  if (only?.part != null && only.files === 0) return ["nothing to restore: these bytes are here already"];
  const orders = plans.filter(({ files }) => files > 0).flatMap((plan) => [orderLine(plan), ...otherLines(plan)]);
  const here = plans.reduce((total, { cachedFiles, localFiles }) => total + cachedFiles + localFiles, 0);
  if (orders.length === 0) return [`nothing to restore: ${counted(here, "file")} here already`];
  return here === 0 ? orders : [...orders, `${counted(here, "file")} here already`];
}

function orderLine(plan: RestorePlan): string {
  const { files, bytes, running, slower, price, tier, currency, part } = plan;
  const traffic = trafficText(plan.trafficPrice, currency);
  const subject = part == null ? counted(files, "file") : `bytes ${part.start}-${part.end} in ${counted(files, "job")}`;
  if (running === files && slower === 0) {
    return `${subject}, ${formatSize(bytes)}: already under way, free of charge${traffic}`;
  }
  const existing = [
    ...(running === slower ? [] : [`${running - slower} already under way, free`]),
    ...(slower === 0 ? [] : [`${slower} under way at a slower tier: for those a second job is ordered`]),
  ].join("; ");
  const what = `${subject}${existing && ` (${existing})`}, ${formatSize(bytes)} to restore at tier ${tier}`;
  const cost = price === 0 ? "free of charge" : priceText(price, currency);
  return `${what}: ${cost}, ${readyText(plan)}${traffic}`;
}

function otherLines({ otherTiers, currency, price, jobsKnown }: RestorePlan): string[] {
  if (price === 0) return [];
  const tiers = otherTiers.map(
    (other) => `  or --tier ${other.tier}: ${priceText(other.price, currency)}, ${readyText(other)}`,
  );
  return jobsKnown !== false
    ? tiers
    : [...tiers, "  the service did not say which jobs it has already; those cost nothing"];
}

function readyText({ readyInMs }: Pick<RestorePlan, "readyInMs">): string {
  if (readyInMs === null) return "ready soon, as the service is on this machine";
  const { from, to } = readyInMs;
  return from === to ? `ready in ${formatDuration(to)}` : `ready in ${formatDuration(from)} to ${formatDuration(to)}`;
}
