/** The package as another program sees it: compiled, and by its name. Relies on: `dist` being built. */

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { startCasfs } from "../support/casfs-process.js";
import { ConsumerProject, packageRoot } from "./consumer-project.js";

const run = promisify(execFile);
const compiler = join(packageRoot, "node_modules", ".bin", "tsc");

/** Runs a module within the package itself: Node resolves the own name of a package through its exports. */
function runWithin(code: string) {
  return run(process.execPath, ["--input-type=module", "--eval", code], { cwd: packageRoot });
}

test("import from casfs gives exactly the public names", async () => {
  const { stdout, stderr } = await runWithin(
    'import * as casfs from "casfs"; console.log(JSON.stringify(Object.keys(casfs).sort()));',
  );
  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toEqual([
    "Archive",
    "CASClient",
    "CASClientError",
    "CASServerError",
    "CasAPI",
    "DownloadArchiveError",
    "HashDoesNotMatchError",
    "Job",
    "MultipartUpload",
    "UploadArchiveError",
    "Vault",
    "combineTreeHashes",
    "contentDigest",
    "contentSha256",
    "createSignKey",
    "parseRangeFromStr",
    "treeHash",
  ]);
});

test("modules behind the door cannot be imported", async () => {
  await expect(runWithin('await import("casfs/dist/sdk/cas-client.js");')).rejects.toThrow(
    /ERR_PACKAGE_PATH_NOT_EXPORTED/,
  );
});

test("a strict TypeScript project compiles against the declarations of the package", async () => {
  await using project = await ConsumerProject.make();
  await project.write(
    "main.ts",
    `import { CASClient, CasAPI, CASServerError, Vault, type InventoryEntry, type Job } from "casfs";

const api = new CasAPI(new CASClient({ endpoint: "cas.test", secretId: "id", secretKey: "key" }));
export async function main(): Promise<InventoryEntry[]> {
  const vault: Vault = await Vault.create(api, "photos");
  const job: Job = await vault.retrieveArchive("id", { tier: "Expedited" });
  await job.downloadToFile("/tmp/x", { onProgress: ({ doneBytes }) => console.log(doneBytes.toFixed()) });
  const entries: InventoryEntry[] = [];
  for await (const entry of vault.inventory()) entries.push(entry);
  return entries;
}
main().catch((error: unknown) => console.error(error instanceof CASServerError && error.requestId));
// @ts-expect-error tiers are a closed set
void api.initiateJob("photos", { type: "archive-retrieval", archiveId: "id", tier: "fast" });
`,
  );
  const typeRoots = [join(packageRoot, "node_modules", "@types")];
  const compilerOptions = {
    target: "ES2022",
    module: "NodeNext",
    strict: true,
    noEmit: true,
    types: ["node"],
    typeRoots,
  };
  await project.write("tsconfig.json", JSON.stringify({ compilerOptions, files: ["main.ts"] }));
  const { stdout } = await run(compiler, ["-p", project.directory]).catch((error: { stdout: string }) => error);
  expect(stdout).toBe("");
});

test("the program in the README runs as it stands", async () => {
  const readme = await readFile(join(packageRoot, "README.md"), "utf8");
  const program = /^## Use the SDK\n[\s\S]*?^```js\n([\s\S]*?)^```/m.exec(readme)?.[1];
  expect(program, "README.md has a program under 'Use the SDK'").toBeDefined();
  await using project = await ConsumerProject.make();
  const path = await project.write("main.js", program!);
  const keys = { CASFS_SECRET_ID: "AKIDexample", CASFS_SECRET_KEY: "exampleSecretKey" };
  const flags = ["--listen", "127.0.0.1:0", "--data", join(project.directory, "data")];
  const service = await startCasfs(["serve", ...flags], keys);
  try {
    const endpoint = /http:\S+/.exec(service.line)![0];
    const env = { ...process.env, ...keys, CASFS_ENDPOINT: endpoint };
    const { stdout } = await run(process.execPath, [path], { cwd: project.directory, env });
    expect(stdout).toMatch(
      /^restored 20 bytes, tree hash [0-9a-f]{64}\nmy first archive 20 \S+\n400 BadRequest: .*\n$/,
    );
  } finally {
    await service.stop();
  }
});
