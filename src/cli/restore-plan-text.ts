/** What a restore would order, in words. Pure. */

import type { RestorePlan } from "../app/control-api.js";
import { formatDuration, formatSize } from "../lib/amount-text.js";
import { priceText, trafficText } from "./cost-question.js";
import { counted } from "./terminal.js";

export interface PlannedMount {
  readonly plan: RestorePlan;
}

export function totalPrice(plans: readonly RestorePlan[]): number {
  return plans.reduce((total, { price }) => total + price, 0);
}

/** One line for each mount's order, and one for what is here already. */
export function planLines(plans: readonly RestorePlan[]): string[] {
  const orders = plans.filter(({ files }) => files > 0).flatMap((plan) => [orderLine(plan), ...otherTierLines(plan)]);
  const here = plans.reduce((total, { cachedFiles, localFiles }) => total + cachedFiles + localFiles, 0);
  if (orders.length === 0) return [`nothing to restore: ${counted(here, "file")} here already`];
  return here === 0 ? orders : [...orders, `${counted(here, "file")} here already`];
}

function orderLine(plan: RestorePlan): string {
  const slower = plan.slower === 0 ? "" : `, ${plan.slower} at a slower tier: for those a second job is ordered`;
  const running = plan.running === 0 ? "" : ` (${plan.running} of them already on the way${slower})`;
  const what = `${counted(plan.files, "file")}${running}, ${formatSize(plan.bytes)} to restore at tier ${plan.tier}`;
  const price = plan.price === 0 ? "free of charge" : priceText(plan.price, plan.currency);
  return `${what}: ${price}, ${readyText(plan)}${trafficText(plan.trafficPrice, plan.currency)}`;
}

function otherTierLines({ otherTiers, currency, price }: RestorePlan): string[] {
  if (price === 0) return [];
  return otherTiers.map(
    (other) => `  or --tier ${other.tier}: ${priceText(other.price, currency)}, ${readyText(other)}`,
  );
}

function readyText({ readyInMs }: Pick<RestorePlan, "readyInMs">): string {
  if (readyInMs === null) return "ready soon, as the service is on this machine";
  const { from, to } = readyInMs;
  return from === to ? `ready in ${formatDuration(to)}` : `ready in ${formatDuration(from)} to ${formatDuration(to)}`;
}
