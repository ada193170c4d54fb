/** Durations and sizes for people to read. */

const durationUnits = [
  { name: "d", ms: 86_400_000 },
  { name: "h", ms: 3_600_000 },
  { name: "m", ms: 60_000 },
  { name: "s", ms: 1000 },
] as const;

const sizeUnits = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** `300ms`, `2.5s`, `1m23s`, `24h`, `2d3h`; two units at most, the rest is cut off. `durationMs` below 0 counts as 0. */
export function formatDuration(durationMs: number): string {
  const whole = Math.max(0, Math.floor(durationMs));
  if (whole < 1000) return `${whole}ms`;
  if (whole < 60_000) return `${Math.floor(whole / 100) / 10}s`;
  // A single day reads better in hours.
  const first = durationUnits.findIndex((unit) => whole >= unit.ms * (unit.name === "d" ? 2 : 1));
  const [large, small] = [durationUnits[first]!, durationUnits[first + 1]!];
  const rest = Math.floor((whole % large.ms) / small.ms);
  return `${Math.floor(whole / large.ms)}${large.name}${rest === 0 ? "" : `${rest}${small.name}`}`;
}

/** `0B`, `100B`, `16MiB`, `1.5GiB`; at most one decimal, cut off. */
export function formatSize(bytes: number): string {
  const power = bytes < 1024 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), sizeUnits.length - 1);
  return `${Math.floor((bytes / 1024 ** power) * 10) / 10}${sizeUnits[power]}`;
}
