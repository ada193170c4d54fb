/**
 * `npm run bench -- [--quick] [--row NAME]... [--subject NAME]`: casfs beside programs that do the same on this machine.
 *
 * Prints a table and writes `bench/latest.json`, where rows that were not measured this time keep their former figures.
 * `--quick` does a quarter of the work in at most two rounds, in about two minutes, and writes nothing.
 * The ratios count; absolute figures depend on the machine. Exits with 0 whether or not the targets are reached: speed
 * never gates a change.
 */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { closeAll } from "./held.js";
import { keepResults } from "./latest.js";
import { type Bench, measure, type Row, type RowResult } from "./row.js";
import { archivingRow, recallRow } from "./rows/archiving.js";
import { creatingRow } from "./rows/creating.js";
import { inventoryRows } from "./rows/inventory.js";
import { listingRows } from "./rows/listing.js";
import { millionRows } from "./rows/million.js";
import { hashingRow, latencyRow } from "./rows/responsiveness.js";
import { readingRow, writingRow } from "./rows/sequential.js";
import { smallUploadsRow } from "./rows/small-uploads.js";
import { downloadRow, uploadRow } from "./rows/transfers.js";
import { fullScale, quickScale, type Scale } from "./scale.js";
import { type SubjectName, subjectNames } from "./subject.js";
import { resultTable } from "./table.js";

const rowsOf = (scale: Scale): readonly Row[] => [
  creatingRow(scale),
  ...listingRows(scale.files, { slow: false, roundsMax: scale.roundsMax }),
  ...listingRows(100_000, { slow: true }),
  writingRow(scale),
  readingRow(scale),
  archivingRow(scale),
  recallRow(scale),
  hashingRow(scale),
  latencyRow(scale),
  uploadRow(scale),
  downloadRow(scale),
  smallUploadsRow(scale),
  ...inventoryRows,
  ...millionRows,
];

const quickHeading =
  "Quick: a quarter of the work, at most two rounds, no large trees. The figures of whole runs stay in bench/latest.json.";

const tools = resolve(".cache/bench");

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      row: { type: "string", multiple: true, default: [] },
      /** What is measured in the place of casfs; to try the benchmark itself. */
      subject: { type: "string", default: "casfs" },
    },
  });
  const rows = rowsOf(values.quick ? quickScale : fullScale);
  const chosen = chosenRows(rows, values);
  const subject = subjectNames.find((name) => name === values.subject);
  if (subject === undefined)
    throw new Error(`There is no subject ${values.subject}; there are ${subjectNames.join(", ")}`);
  const place = mkdtempSync(join(tools, "run-"));
  try {
    const results = await measureAll(chosen, subject, place);
    console.log(`\n${values.quick ? `${quickHeading}\n\n` : ""}${resultTable(results)}`);
    if (subject === "casfs" && !values.quick)
      keepResults(
        "bench/latest.json",
        results,
        rows.map(({ name }) => name),
      );
  } finally {
    await closeAll();
    rmSync(place, { recursive: true, force: true });
  }
}

function chosenRows(
  rows: readonly Row[],
  { quick, row: names }: { readonly quick: boolean; readonly row: readonly string[] },
): Row[] {
  const unknown = names.find((name) => !rows.some((row) => row.name === name));
  if (unknown !== undefined) {
    throw new Error(`There is no row ${unknown}; the rows are ${rows.map(({ name }) => name).join(", ")}`);
  }
  if (names.length > 0) return rows.filter(({ name }) => names.includes(name));
  return rows.filter(({ slow }) => !quick || slow !== true);
}

async function measureAll(chosen: readonly Row[], subject: SubjectName, place: string): Promise<RowResult[]> {
  let places = 0;
  const bench: Bench = {
    tools,
    subject,
    place: (name) => {
      places += 1;
      const directory = join(place, `${places}-${name}`);
      mkdirSync(directory);
      return directory;
    },
  };
  const results: RowResult[] = [];
  for (const row of chosen) {
    const compared = row.reference === null ? "" : ` and ${row.reference}`;
    console.log(`bench: ${row.work}, ${subject}${compared}; rounds: ${row.rounds}`);
    results.push(await measure(row, bench));
  }
  return results;
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void closeAll().finally(() => process.exit(130)));
}
await main().catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
