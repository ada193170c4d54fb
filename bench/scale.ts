/** How much work a run does: the whole, or a part that shows in less than two minutes whether something is amiss. */

export interface Scale {
  readonly files: number;
  /** Of a large file. */
  readonly mebibytes: number;
  /** Small archives. */
  readonly uploads: number;
  /** No row has more rounds. */
  readonly roundsMax: number;
}

export const fullScale: Scale = { files: 10_000, mebibytes: 1024, uploads: 2000, roundsMax: Number.POSITIVE_INFINITY };
export const quickScale: Scale = { files: 2500, mebibytes: 256, uploads: 500, roundsMax: 2 };

/** "1 GiB", "256 MiB". */
export function sizeText({ mebibytes }: Scale): string {
  return mebibytes % 1024 === 0 ? `${mebibytes / 1024} GiB` : `${mebibytes} MiB`;
}

export function countText(count: number): string {
  return count.toLocaleString("en");
}
