import { defineConfig } from "vitest/config";

// Two cores: the mount tests time the file system, so files run two at a time and never more.
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    maxWorkers: 2,
    // What hangs is to end; how fast a shared machine is, is no matter of the tests.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
