/** Files that a command line names: what is wrong with one, in a sentence instead of an errno. */

import { type ErrorKind, FileSystemError } from "../domain/errors.js";

const reasons: Readonly<Record<string, { readonly kind: ErrorKind; readonly words: string }>> = {
  ENOENT: { kind: "not-found", words: "there is no such file" },
  ENOTDIR: { kind: "not-found", words: "there is no such file" },
  EISDIR: { kind: "is-a-directory", words: "it is a directory" },
  EACCES: { kind: "access-denied", words: "permission denied" },
};

/** The outcome of `work` on `file`. @throws FileSystemError for what a person may have mistaken. */
export async function ofInputFile<T>(file: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    const reason = reasons[(cause as NodeJS.ErrnoException).code ?? ""];
    if (reason === undefined) throw cause;
    throw new FileSystemError(reason.kind, `Cannot read ${file}: ${reason.words}`, { cause });
  }
}
