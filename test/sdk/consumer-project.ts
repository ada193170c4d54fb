/** A project elsewhere that has installed this package, as `dist` has it. */

import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const packageRoot = fileURLToPath(new URL("../..", import.meta.url));

export class ConsumerProject implements AsyncDisposable {
  private constructor(readonly directory: string) {}

  static async make(): Promise<ConsumerProject> {
    const directory = await mkdtemp(join(tmpdir(), "casfs-consumer-"));
    await mkdir(join(directory, "node_modules"));
    await symlink(packageRoot, join(directory, "node_modules", "casfs"), "dir");
    const project = new ConsumerProject(directory);
    await project.write("package.json", '{ "type": "module" }');
    return project;
  }

  async write(name: string, text: string): Promise<string> {
    const path = join(this.directory, name);
    await writeFile(path, text);
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}
