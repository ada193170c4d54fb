/** What follows from a commit of the catalog: bytes move on the disk, pipelines wake up, the kernel forgets. */

import type { CatalogListener } from "../catalog/catalog-listener.js";
import { describeError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { KernelMemory } from "./kernel-memory.js";
import type { MountPipelines } from "./mount-pipelines.js";
import type { MountStorage } from "./mount-storage.js";

/** Hears of every commit before the replies that waited for it. Its effects fail without failing the commit. */
export function commitEffects(parts: {
  readonly storage: Pick<MountStorage, "catalog" | "staging" | "cache">;
  readonly pipelines: Pick<MountPipelines, "uploads" | "abandoned" | "deleter" | "purger">;
  readonly kernel: KernelMemory;
  readonly observer: Observer;
}): CatalogListener {
  const { catalog, staging, cache } = parts.storage;
  const { uploads, abandoned, deleter, purger } = parts.pipelines;
  const { kernel, observer } = parts;
  const warnOf = (what: string) => (error: unknown) =>
    observer({ type: "warning", message: `${what}: ${describeError(error)}` });
  return {
    contentRemoved(content, archive, answerPending) {
      const report = warnOf(`Cannot remove content ${content}`);
      staging.remove(content).catch(report);
      if (archive !== null) cache.drop(archive).catch(report);
      if (!answerPending) uploads.cancel(content).then(() => abandoned.wake(), report);
    },
    contentArchived(content, archive, sizeBytes, ino) {
      if (staging.isWhole(content)) {
        cache.adopt(content, archive, sizeBytes).catch(warnOf(`Cannot keep a copy of content ${content}`));
      } else {
        // Parts of it are only in the vault: it is cold.
        const forgotten = staging
          .remove(content)
          .then(() => catalog.mutate(() => catalog.streams.forgetDropped(content)));
        forgotten.catch(warnOf(`Cannot remove content ${content}`));
      }
      kernel.placeChanged(ino);
    },
    uploadsAbandoned: () => abandoned.wake(),
    contentLost(ino, message) {
      observer({ type: "warning", message });
      kernel.placeChanged(ino);
    },
    nameAppeared: (parent, name) => kernel.nameAppeared(parent, name),
    lastCopies(archives) {
      // Never evicted by itself; `casfs unpin` lets it go.
      for (const archive of archives) cache.setPinned(archive, true).catch(warnOf(`Cannot keep archive ${archive}`));
    },
    contentLanded: (archive) => kernel.placeChanged(catalog.contents.inodeOfArchive(archive)),
    deletesPending: () => deleter.wake(),
    trashChanged: () => purger.wake(),
  };
}
