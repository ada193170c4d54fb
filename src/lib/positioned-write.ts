/** Writing several buffers at a place of a file, however many the system takes at a time. */

/** A file that takes some of what it is given, and says how much; such as a `FileHandle`. */
interface VectorFile {
  writev(chunks: readonly Uint8Array[], position: number): Promise<{ readonly bytesWritten: number }>;
}

/** Writes `chunks` one behind the other from `offset` on; all of them, or it throws the system's error. */
export async function writeAllAt(file: VectorFile, chunks: readonly Uint8Array[], offset: number): Promise<void> {
  let rest = [...chunks];
  let position = offset;
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev(rest, position);
    position += bytesWritten;
    rest = dropBytes(rest, bytesWritten);
  }
}

/** What is left of `chunks` without their first `count` bytes. */
function dropBytes(chunks: readonly Uint8Array[], count: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let toDrop = count;
  for (const chunk of chunks) {
    if (toDrop < chunk.length) rest.push(chunk.subarray(toDrop));
    toDrop = Math.max(0, toDrop - chunk.length);
  }
  return rest;
}
