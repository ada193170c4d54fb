/** The results as a table for people. Pure. */

import type { RowResult, Target } from "./row.js";

const header = ["work", "casfs", "reference", "", "ratio", "target", "reached"];

export function resultTable(results: readonly RowResult[]): string {
  const lines = [header, ...results.map(cells)];
  const widths = header.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function cells(result: RowResult): string[] {
  const { work, target, casfsMedianMs, referenceMedianMs, ratio, reached } = result;
  const values = [amount(casfsMedianMs, target), amount(referenceMedianMs, target)] as const;
  return [work, values[0], values[1], result.reference, ratio.toFixed(2), goal(target), reached ? "yes" : "no"];
}

function amount(elapsedMs: number, target: Target): string {
  if (target.kind === "speed") return `${Math.round(target.bytes / 1024 ** 2 / (elapsedMs / 1000))} MiB/s`;
  return elapsedMs < 1000 ? `${elapsedMs.toFixed(1)} ms` : `${(elapsedMs / 1000).toFixed(2)} s`;
}

function goal(target: Target): string {
  return target.kind === "time" ? `<= ${target.atMost.toFixed(2)}` : `>= ${target.atLeast.toFixed(2)}`;
}
