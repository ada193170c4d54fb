import { mkdtemp, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { removeOldRecords, UploadRecord } from "../../src/cli/archive/upload-record.js";
import { uploadId } from "../../src/domain/ids.js";

const key = {
  service: "http://cas.example.com",
  account: "1250000000",
  vault: "photos",
  path: "/home/me/a.tar",
  description: "a.tar",
  sizeBytes: 100,
  modifiedAt: "1699999999123456789",
};
const id = uploadId("some-upload");

let parent: string;
let directory: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "casfs-records-"));
  directory = join(parent, "state", "uploads");
});
afterEach(() => rm(parent, { recursive: true }));

test("an upload is found again by what it is, and only by its owner", async () => {
  await new UploadRecord(directory, key).write({ uploadId: id });
  expect(await new UploadRecord(directory, { ...key }).read()).toEqual({ uploadId: id });
  const [name] = await readdir(directory);
  expect((await stat(join(directory, name!))).mode & 0o777).toBe(0o600);
});

test.each(Object.keys(key) as (keyof typeof key)[])("another %s is another upload", async (field) => {
  await new UploadRecord(directory, key).write({ uploadId: id });
  const other = { ...key, [field]: field === "sizeBytes" ? 101 : "other" };
  expect(await new UploadRecord(directory, other).read()).toBeUndefined();
});

test("a damaged record is as good as none, and a removed one is gone", async () => {
  const record = new UploadRecord(directory, key);
  await record.write({ uploadId: id });
  const path = join(directory, (await readdir(directory))[0]!);
  for (const damaged of ['{"uploadId": "a', '{"uploadId": "../../etc"}', "{}", ""]) {
    await writeFile(path, damaged);
    expect(await record.read()).toBeUndefined();
  }
  await record.remove();
  await record.remove();
  expect(await readdir(directory)).toEqual([]);
});

test("records of uploads that the service has long forgotten are removed", async () => {
  await removeOldRecords(directory, Date.now()); // there is no directory yet
  await new UploadRecord(directory, key).write({ uploadId: id });
  await new UploadRecord(directory, { ...key, vault: "other" }).write({ uploadId: id });
  const [old] = await readdir(directory);
  await utimes(join(directory, old!), 0, 0);
  await removeOldRecords(directory, Date.now());
  expect(await readdir(directory)).toHaveLength(1);
});
