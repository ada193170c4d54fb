/** One line of the table: a piece of work that casfs and a reference do in turns, and what is to be reached. */

import type { SubjectName } from "./subject.js";

export interface Bench {
  /** The compiled C programs. */
  readonly tools: string;
  /** What is measured as a mount; casfs, unless the benchmark itself is tried. */
  readonly subject: SubjectName;
  /** A new empty directory on the disk that is measured; removed at the end. */
  place(name: string): string;
}

/** One side of a row. */
export interface Contestant {
  /** Does the work once, with nothing left over from the round before. @returns milliseconds, or what the target measures. */
  round(): Promise<number>;
  /** After the last round. */
  close?(): Promise<void>;
}

export interface Contestants {
  readonly casfs: Contestant;
  /** Null for a row whose target is no ratio. */
  readonly reference: Contestant | null;
}

export interface Row {
  /** For `--row`. */
  readonly name: string;
  readonly work: string;
  /** What casfs is compared with, for people; null for nothing. */
  readonly reference: string | null;
  readonly rounds: number;
  readonly target: Target;
  /** Whether `--quick` leaves it out. */
  readonly slow?: boolean;
  prepare(bench: Bench): Promise<Contestants>;
}

/**
 * What is to be reached.
 *
 * - "time": at most `atMost` times the reference's time;
 * - "speed", of `bytes`, and "rate", of `operations`: at least `atLeast` of the reference's;
 * - "duration" and "memory": at most so many milliseconds or bytes, whatever anybody else needs.
 */
export type Target =
  | { readonly kind: "time"; readonly atMost: number }
  | SpeedTarget
  | { readonly kind: "rate"; readonly atLeast: number; readonly operations: number }
  | { readonly kind: "duration"; readonly atMostMs: number }
  | { readonly kind: "memory"; readonly atMostBytes: number };
export interface SpeedTarget {
  readonly kind: "speed";
  readonly atLeast: number;
  readonly bytes: number;
}

/** Of every round, in the order of measuring: milliseconds; for a "memory" target, bytes. */
export interface Measured {
  readonly rounds: readonly number[];
  readonly median: number;
}

export interface RowResult {
  readonly row: string;
  readonly work: string;
  readonly reference: string | null;
  readonly target: Target;
  readonly casfs: Measured;
  readonly compared: Measured | null;
  /** Of times, speeds or rates, casfs divided by the reference; of a duration or memory, by what is allowed. */
  readonly ratio: number;
  readonly reached: boolean;
}

/** A B A B …, so that a machine that becomes slower meanwhile is slower for both. */
export async function measure(row: Row, bench: Bench): Promise<RowResult> {
  const { casfs, reference } = await row.prepare(bench);
  const values: { readonly casfs: number[]; readonly reference: number[] } = { casfs: [], reference: [] };
  try {
    for (let round = 0; round < row.rounds; round++) {
      values.casfs.push(await casfs.round());
      if (reference !== null) values.reference.push(await reference.round());
    }
  } finally {
    await casfs.close?.();
    await reference?.close?.();
  }
  const measured = measuredOf(values.casfs);
  const compared = reference === null ? null : measuredOf(values.reference);
  const { name, work, target } = row;
  return {
    ...{ row: name, work, reference: row.reference, target, casfs: measured, compared },
    ...judge(target, measured.median, compared?.median),
  };
}

function judge(
  target: Target,
  casfs: number,
  reference = Number.NaN,
): { readonly ratio: number; readonly reached: boolean } {
  switch (target.kind) {
    case "time":
      return { ratio: casfs / reference, reached: casfs / reference <= target.atMost };
    case "speed":
    case "rate":
      return { ratio: reference / casfs, reached: reference / casfs >= target.atLeast };
    case "duration":
      return { ratio: casfs / target.atMostMs, reached: casfs <= target.atMostMs };
    case "memory":
      return { ratio: casfs / target.atMostBytes, reached: casfs <= target.atMostBytes };
  }
}

function measuredOf(rounds: readonly number[]): Measured {
  const sorted = [...rounds].sort((left, right) => left - right);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { rounds, median };
}
