/** The results as a table for people. Pure. */

import type { RowResult, Target } from "./row.js";

const header = ["work", "casfs", "reference", "", "ratio", "target", "reached"];
const mebibyte = 1024 ** 2;

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

function cells({ work, target, casfs, compared, reference, ratio, reached }: RowResult): string[] {
  const values = [amount(casfs.median, target), compared === null ? "-" : amount(compared.median, target)] as const;
  return [work, ...values, reference ?? "", ratio.toFixed(2), goal(target), reached ? "yes" : "no"];
}

function amount(value: number, target: Target): string {
  switch (target.kind) {
    case "speed":
      return `${Math.round(target.bytes / mebibyte / (value / 1000))} MiB/s`;
    case "rate":
      return `${Math.round(target.operations / (value / 1000))}/s`;
    case "memory":
      return `${Math.round(value / mebibyte)} MiB`;
    case "time":
    case "duration":
      return value < 1000 ? `${value.toFixed(1)} ms` : `${(value / 1000).toFixed(2)} s`;
  }
}

function goal(target: Target): string {
  switch (target.kind) {
    case "time":
      return `<= ${target.atMost.toFixed(2)}`;
    case "speed":
    case "rate":
      return `>= ${target.atLeast.toFixed(2)}`;
    case "duration":
      return `<= ${amount(target.atMostMs, target)}`;
    case "memory":
      return `<= ${amount(target.atMostBytes, target)}`;
  }
}
