/** Rows in columns for people to read. Pure. */

import { printable } from "../lib/printable.js";

export interface Column {
  readonly title: string;
  /** Numbers are read from the right. */
  readonly align?: "left" | "right";
}

/** The lines of a table with a head; the last column is not padded. Cells are made harmless for a terminal. */
export function tableLines(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const cells = [columns.map(({ title }) => title), ...rows.map((row) => row.map(printable))];
  const widths = columns.map((_, index) => Math.max(...cells.map((row) => (row[index] ?? "").length)));
  return cells.map((row) => tableLine(row, columns, widths));
}

function tableLine(row: readonly string[], columns: readonly Column[], widths: readonly number[]): string {
  const padded = row.map((cell, index) => {
    const width = widths[index] ?? 0;
    if (columns[index]?.align === "right") return cell.padStart(width);
    return index === row.length - 1 ? cell : cell.padEnd(width);
  });
  return padded.join("  ").trimEnd();
}

/** `name: value` lines with the colons below each other. */
export function fieldLines(fields: readonly (readonly [name: string, value: string])[]): string[] {
  const width = Math.max(...fields.map(([name]) => name.length));
  return fields.map(([name, value]) => `${name.padStart(width)}: ${printable(value)}`);
}

/** `2026-11-22T21:09:58Z`; `-` for no date. */
export function dateText(date: Date | null): string {
  return date === null ? "-" : date.toISOString().replace(/\.\d+Z$/, "Z");
}
