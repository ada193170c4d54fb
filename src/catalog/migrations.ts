/**
 * Numbered steps from any released schema to the current one.
 *
 * `PRAGMA user_version` says how many steps a catalog has taken. A released step is never edited.
 */

import type BetterSqlite3 from "better-sqlite3";
import { UsageError } from "../domain/errors.js";
import {
  ledgerStep,
  missingStep,
  partialStep,
  recallFailureStep,
  recallReplacedStep,
  recallUseStep,
  recallWishStep,
  schema,
  streamStep,
  trashStep,
  writerStep,
} from "./schema.js";

const steps: readonly string[] = [
  schema,
  trashStep,
  recallReplacedStep,
  recallUseStep,
  writerStep,
  missingStep,
  ledgerStep,
  streamStep,
  partialStep,
  recallFailureStep,
  recallWishStep,
];

/** @throws UsageError when a newer casfs has written the catalog. */
export function migrate(sql: BetterSqlite3.Database): void {
  const taken = sql.pragma("user_version", { simple: true }) as number;
  if (taken > steps.length) {
    throw new UsageError(`Cannot use catalog ${sql.name}: a newer casfs has written it (schema ${taken})`, {
      hint: "Update casfs, or use another state directory",
    });
  }
  for (let step = taken; step < steps.length; step++) {
    sql.transaction(() => {
      sql.exec(steps[step]!);
      sql.pragma(`user_version = ${step + 1}`);
    })();
  }
}
