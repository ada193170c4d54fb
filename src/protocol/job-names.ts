/** The words that job messages use for tiers, formats and states (cas-api section 11). */

export const tierNames = { expedited: "Expedited", standard: "Standard", bulk: "Bulk" } as const;
export const formatNames = { json: "JSON", csv: "CSV" } as const;
export const statusNames = { "in-progress": "InProgress", succeeded: "Succeeded", failed: "Failed" } as const;

/** `Type` of an order. */
export const jobTypeNames = {
  "retrieve-archive": "archive-retrieval",
  "retrieve-inventory": "inventory-retrieval",
  "push-to-cos": "push-to-cos",
  "pull-from-cos": "pull-from-cos",
} as const;

/** `Action` of a description. */
export const actionNames = {
  "retrieve-archive": "ArchiveRetrieval",
  "retrieve-inventory": "InventoryRetrieval",
  "push-to-cos": "PushToCOS",
  "pull-from-cos": "PullFromCOS",
} as const;

export type JobAction = keyof typeof jobTypeNames;

/** The key of a word, whose case does not matter. */
export function keyOf<K extends string>(names: Readonly<Record<K, string>>, text: string): K | undefined {
  const lowercase = text.toLowerCase();
  return (Object.keys(names) as K[]).find((key) => names[key].toLowerCase() === lowercase);
}
