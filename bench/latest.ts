/** The file with the last results of every row. */

import { readFileSync, writeFileSync } from "node:fs";
import { describeMachine } from "./machine.js";
import type { RowResult } from "./row.js";

interface KeptResult extends RowResult {
  readonly measuredAt: string;
}

interface Kept {
  readonly machine: ReturnType<typeof describeMachine>;
  readonly results: readonly KeptResult[];
}

/** Replaces the rows that were measured, keeps the others that still exist, and orders them as `names`. */
export function keepResults(path: string, results: readonly RowResult[], names: readonly string[]): void {
  const measuredAt = new Date().toISOString();
  const kept = new Map(former(path).map((result) => [result.row, result]));
  for (const result of results) kept.set(result.row, { ...result, measuredAt });
  const ordered = names.flatMap((name) => kept.get(name) ?? []);
  const content: Kept = { machine: describeMachine(), results: ordered };
  writeFileSync(path, `${JSON.stringify(content, null, 2)}\n`);
}

/** Figures of another machine say nothing about this one's. */
function former(path: string): readonly KeptResult[] {
  try {
    const kept = JSON.parse(readFileSync(path, "utf8")) as Kept;
    return JSON.stringify(kept.machine) === JSON.stringify(describeMachine()) ? kept.results : [];
  } catch {
    return [];
  }
}
