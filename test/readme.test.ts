/** What the README shows is run as it stands, but for the port, which may be taken. Relies on: `dist` being built. */

import { execFile } from "node:child_process";
import { chmod, readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { ConsumerProject, packageRoot } from "./sdk/consumer-project.js";

const run = promisify(execFile);

test("the commands of 'Run your own CAS service' run as they stand", async () => {
  const readme = await readFile(join(packageRoot, "README.md"), "utf8");
  const commands = /^## Run your own CAS service\n[\s\S]*?^```sh\n([\s\S]*?)^```/m.exec(readme)?.[1];
  expect(commands, "README.md has commands under 'Run your own CAS service'").toBeDefined();
  await using project = await ConsumerProject.make();
  const program = await project.write(
    "casfs",
    `#!/bin/sh\nexec ${process.execPath} ${packageRoot}/dist/cli/main.js "$@"\n`,
  );
  await chmod(program, 0o755);
  const port = await freePort();
  const listening = commands!
    .replaceAll("127.0.0.1:8674", `127.0.0.1:${port}`)
    .replace("casfs serve ", `casfs serve --listen 127.0.0.1:${port} `);
  const script = await project.write(
    "commands.sh",
    `set -em\ntrap 'kill %1 2>/dev/null || true' EXIT\n${listening}wait\n`,
  );
  const environment = { PATH: `${project.directory}:${process.env.PATH}`, HOME: project.directory };
  const { stdout } = await run("bash", [script], { cwd: project.directory, env: environment, timeout: 60_000 });
  expect(stdout).toContain("the same bytes");
  expect(stdout).toContain("my first archive");
}, 90_000);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
