import { defineConfig } from "vitest/config";

// Two cores: the mount tests time the file system, so files run two at a time and never more.
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
