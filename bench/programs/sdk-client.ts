/**
 * `sdk-client upload|store|download|small|inventory URL …`: work on the vault "bench" with the SDK of casfs.
 *
 * `upload URL FILE`; `store URL FILE` prints the id of a finished retrieval; `download URL JOB FILE`; `small URL COUNT BYTES
 * CONCURRENCY`; `inventory URL COUNT` lists all archives and checks their number. Prints what it took as JSON.
 */

import { CASClient, CasAPI, Vault } from "casfs";
import { inParallel, measured } from "./measured.js";

const [task, endpoint, ...rest] = process.argv.slice(2);
const client = new CASClient({ endpoint: endpoint!, secretId: "bench", secretKey: "bench-key" });
const vault = await Vault.create(new CasAPI(client), "bench");

const tasks: Readonly<Record<string, () => Promise<void>>> = {
  async upload() {
    await vault.uploadArchive(rest[0]!);
  },
  async download() {
    const [job, file] = rest as [string, string];
    await (await vault.getJob(job)).downloadToFile(file);
  },
  async small() {
    const [count, sizeBytes, concurrency] = rest.map(Number) as [number, number, number];
    await inParallel(count, concurrency, (index) => vault.uploadArchive(Buffer.alloc(sizeBytes, index)));
  },
  async inventory() {
    let count = 0;
    for await (const _ of vault.inventory({ pollMs: 50 })) count += 1;
    if (count !== Number(rest[0])) throw new Error(`The inventory has ${count} archives instead of ${rest[0]}`);
  },
};

if (task === "store") console.log(JSON.stringify(await stored(rest[0]!)));
else await measured(tasks[task!]!);
await client.close();

/** Uploads a file and retrieves it again, which is not measured. */
async function stored(file: string): Promise<{ readonly job: string }> {
  const job = await vault.retrieveArchive(await vault.uploadArchive(file));
  await job.wait({ pollMs: 50 });
  return { job: job.id };
}
