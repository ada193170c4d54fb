/** Rows whose work is done on a mount: that of casfs, and that of another file system. */

import type { Bench, Contestant, Row } from "./row.js";
import { type OpenTree, type Subject, type SubjectName, subjectNamed } from "./subject.js";

export interface MountedRow extends Omit<Row, "prepare" | "reference"> {
  readonly reference: SubjectName;
  /** Made once for each of the two. */
  prepare(subject: Subject, bench: Bench): Promise<Contestant>;
}

export function mountedRow(row: MountedRow): Row {
  return {
    ...row,
    prepare: async (bench) => ({
      casfs: await row.prepare(subjectNamed(bench.subject, bench), bench),
      reference: await row.prepare(subjectNamed(row.reference, bench), bench),
    }),
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
