/** A report of `casfs fsck` as lines for people. Pure. */

import type { FsckReport } from "../app/control-api.js";
import { formatSize } from "../lib/amount-text.js";
import { printable } from "../lib/printable.js";
import { counted } from "./terminal.js";

/** What was found, one line each, and last what was looked at. */
export function fsckLines(report: FsckReport): string[] {
  const { problems, errors, files, archives, stagedFiles, cachedFiles, verifiedFiles, verifiedBytes } = report;
  const { partialFiles = 0 } = report; // A mount that an earlier casfs has begun does not tell of them.
  const verified =
    verifiedFiles === 0 ? "" : `, ${counted(verifiedFiles, "cached file")} read (${formatSize(verifiedBytes)})`;
  const inPart = partialFiles === 0 ? "" : `, ${partialFiles} in part`;
  const looked = `${counted(files, "name")}, ${counted(archives, "archive")}, ${stagedFiles} staged, ${cachedFiles} cached${inPart}${verified}`;
  const database = report.databaseChecked ? "" : "; the database file itself is checked when it is not mounted";
  const rest = problems.length - errors;
  const found = errors === 0 ? "no errors" : counted(errors, "error");
  const noted = rest === 0 ? "" : `, ${counted(rest, "notice")}`;
  return [...problems.map(problemLine), `${found}${noted}: ${looked}${database}`];
}

function problemLine({ severity, kind, path, detail }: FsckReport["problems"][number]): string {
  return printable(`${severity} ${kind}: ${path}: ${detail}`);
}
