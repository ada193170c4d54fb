/**
 * The driver that the mounts of this run use: the one place where the tests ask. `CASFS_DRIVER=fuse-native` in front of a
 * run chooses it, as for casfs itself; `npm test` runs the files named in vitest.config.ts on both.
 */

import { loadFuseNative } from "../../src/fuse/native/fuse-native-package.js";
import { whyNoMount } from "./fuse-environment.js";

export type Driver = "kernel" | "fuse-native";

export const driver: Driver = process.env.CASFS_DRIVER === "fuse-native" ? "fuse-native" : "kernel";

/** Why the driver of this run can mount nothing here, or undefined. */
export function whyNoDriver(): string | undefined {
  if (driver === "kernel") return whyNoMount();
  try {
    loadFuseNative();
    return whyNoMount();
  } catch (error) {
    return (error as Error).message;
  }
}
