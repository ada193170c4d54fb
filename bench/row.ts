/** One line of the table: a piece of work that casfs and a reference do in turns, and how the two shall compare. */

import type { OpenTree, Subject, SubjectName } from "./subject.js";

export interface Bench {
  /** The compiled C programs. */
  readonly tools: string;
  /** A new empty directory on the disk that is measured; removed at the end. */
  place(name: string): string;
}

/** What one subject does in a row; made once for each subject. */
export interface Contestant {
  /** Does the work once, on a fresh mount. @returns milliseconds. */
  round(): Promise<number>;
}

export interface Row {
  /** For `--row`. */
  readonly name: string;
  readonly work: string;
  readonly reference: SubjectName;
  readonly rounds: number;
  readonly target: Target;
  /** Whether `--quick` leaves it out. */
  readonly slow?: boolean;
  prepare(subject: Subject, bench: Bench): Promise<Contestant>;
}

/** Of times, casfs may take at most `atMost` times as long; of speeds, it must reach `atLeast` of the reference's. */
export type Target = { readonly kind: "time"; readonly atMost: number } | SpeedTarget;
export interface SpeedTarget {
  readonly kind: "speed";
  readonly atLeast: number;
  readonly bytes: number;
}

export interface RowResult {
  readonly row: string;
  readonly work: string;
  readonly reference: SubjectName;
  readonly target: Target;
  /** Of every round, in the order of measuring. */
  readonly casfsMs: readonly number[];
  readonly referenceMs: readonly number[];
  readonly casfsMedianMs: number;
  readonly referenceMedianMs: number;
  /** Of times or of speeds, casfs divided by the reference. */
  readonly ratio: number;
  readonly reached: boolean;
}

/** A B A B …, so that a machine that becomes slower meanwhile is slower for both. */
export async function measure(row: Row, subject: Subject, reference: Subject, bench: Bench): Promise<RowResult> {
  const contestants = [await row.prepare(subject, bench), await row.prepare(reference, bench)] as const;
  const times: [number[], number[]] = [[], []];
  for (let round = 0; round < row.rounds; round++) {
    for (const index of [0, 1] as const) times[index].push(await contestants[index].round());
  }
  const [casfsMs, referenceMs] = times;
  const [casfsMedianMs, referenceMedianMs] = [median(casfsMs), median(referenceMs)];
  const { target } = row;
  const ratio = target.kind === "time" ? casfsMedianMs / referenceMedianMs : referenceMedianMs / casfsMedianMs;
  const reached = target.kind === "time" ? ratio <= target.atMost : ratio >= target.atLeast;
  const { name, work } = row;
  return {
    ...{ row: name, work, reference: row.reference, target, casfsMs, referenceMs },
    ...{ casfsMedianMs, referenceMedianMs, ratio, reached },
  };
}

/** Runs `work` on a mount that exists only for it. */
export async function onFreshMount<T>(
  subject: Subject,
  place: string,
  work: (tree: OpenTree) => T | Promise<T>,
): Promise<T> {
  const tree = await subject.open(place);
  try {
    return await work(tree);
  } finally {
    await tree.close();
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
