import { defineConfig } from "vitest/config";

// Two cores: the mount tests time the file system, so files run two at a time and never more.
export default defineConfig({
  test: {
    maxWorkers: 2,
    setupFiles: ["test/support/driver-setup.ts"],
    // What hangs is to end; how fast a shared machine is, is no matter of the tests.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000, interval: 20 } },
    projects: [
      { extends: true, test: { name: "casfs", include: ["test/**/*.test.ts"] } },
      {
        extends: true,
        test: {
          name: "fuse-native",
          include: ["test/mount/posix.test.ts", "test/mount/drivers.test.ts"],
          env: { CASFS_DRIVER: "fuse-native" },
        },
      },
    ],
  },
});
