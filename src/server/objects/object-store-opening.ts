/** Opens the object store that the operator has chosen; what it is made of is loaded only then. */

import type { ObjectStore, ObjectStoreChoice } from "./object-store.js";

/** @throws UsageError when the store cannot be used. */
export async function openObjectStore(choice: ObjectStoreChoice): Promise<ObjectStore> {
  if (choice.kind === "directory") {
    const { DirectoryObjectStore } = await import("./object-store-directory.js");
    return DirectoryObjectStore.open(choice.directory);
  }
  const { S3ObjectStore } = await import("./object-store-s3.js");
  return new S3ObjectStore(choice);
}
