/** What a name may be. Pure. */

import { FileSystemError } from "../domain/errors.js";
import { isVaultName, type VaultName } from "../domain/ids.js";

export const nameBytesMax = 255;
/** In the directory of a vault; see `catalog/trash.ts`. */
export const trashName = ".trash";

/** @throws FileSystemError "name-too-long" or "invalid" for a name that no directory can hold. */
export function checkName(name: string): void {
  if (Buffer.byteLength(name) > nameBytesMax) {
    throw new FileSystemError("name-too-long", `Cannot use a name of ${Buffer.byteLength(name)} bytes`);
  }
  if (name === "" || name === "." || name === ".." || /[/\0]/.test(name)) {
    throw new FileSystemError("invalid", `Cannot use ${JSON.stringify(name)} as a name`);
  }
}

/** @throws FileSystemError "not-permitted" for hidden names (desktops try `.Trash-1000`), "invalid" for other bad ones. */
export function checkVaultName(name: string): VaultName {
  if (name.startsWith(".")) {
    throw new FileSystemError("not-permitted", `Cannot create a vault ${name}: its name starts with a dot`);
  }
  if (!isVaultName(name)) {
    throw new FileSystemError(
      "invalid",
      `Cannot create a vault ${name}: its name has other characters than a-z A-Z 0-9 _ - .`,
    );
  }
  return name;
}
