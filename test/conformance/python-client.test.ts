/** The complete cycle of a client with the Python SDK's habits: real sockets, another language, nobody's code shared. */

import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { identity, World } from "./support/world.js";

const script = fileURLToPath(new URL("support/python_client.py", import.meta.url));
const hasPython = spawnSync("python3", ["-c", "import sys; sys.exit(sys.version_info < (3, 8))"]).status === 0;
const reason = hasPython ? "" : " (skipped: there is no python3 on this machine)";

test.skipIf(!hasPython)(
  `15 a client with the habits of SDK-py runs its complete cycle${reason}`,
  async () => {
    const retrievalMs = { expedited: 0, standard: 0, bulk: 0, inventory: 0 };
    await using world = await World.start({ retrievalMs });
    const directory = await mkdtemp(join(tmpdir(), "casfs-python-"));
    try {
      const now = String(world.wire.nowSeconds());
      const port = String(world.server.running.port);
      const parameters = [script, port, identity.secretId, identity.secretKey, now, directory];
      const { stdout } = await promisify(execFile)("python3", parameters, { timeout: 60_000 });
      const done = stdout.trim().split("\n");
      expect(done).toEqual([
        "vault",
        "uploads",
        "errors",
        "retrievals",
        "jobs",
        "inventories",
        "policy and abort",
        "deleted",
      ]);
      expect(world.server.warnings).toEqual([]);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  },
  70_000,
);
