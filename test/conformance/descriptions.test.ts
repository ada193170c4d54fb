/** Descriptions are bytes: stored as they came, returned as UTF-8 with what is none replaced (15.16, 16 row 11). */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testBytes } from "../support/test-bytes.js";
import { WireConnection } from "./support/wire-connection.js";
import { World } from "./support/world.js";

let world: World;
beforeAll(async () => {
  world = await World.start();
});
afterAll(() => world[Symbol.asyncDispose]());

const utf8 = (text: string) => Buffer.from(text, "utf8").toString("latin1");

/** As sent in the header, one character per byte, and as it must come back. */
const descriptions = [
  { what: "none", sent: undefined, shown: "" },
  { what: "an empty one", sent: "", shown: "" },
  {
    what: "printable ASCII",
    sent: "a b+c/d~e*f'(g)!\"#%&;=?@[]{}|\\^`,.txt",
    shown: "a b+c/d~e*f'(g)!\"#%&;=?@[]{}|\\^`,.txt",
  },
  { what: "UTF-8", sent: utf8("归档 测试 é.txt"), shown: "归档 测试 é.txt" },
  { what: "letters outside the basic plane", sent: utf8("x😀y"), shown: "x😀y" },
  { what: "Latin-1, which is no UTF-8", sent: "caf\u00e9", shown: "caf\ufffd" },
  { what: "a character cut in its middle", sent: utf8("归档").slice(0, -1), shown: "归\ufffd" },
  { what: "a tab within", sent: "a\tb", shown: "a\tb" },
  {
    what: "bytes from 0x80 to 0xFF",
    sent: latin1(0x80, 0xff),
    shown: Buffer.from(latin1(0x80, 0xff), "latin1").toString("utf8"),
  },
  { what: "1024 bytes", sent: "d".repeat(1024), shown: "d".repeat(1024) },
  { what: "1023 bytes in 341 characters", sent: utf8("归".repeat(341)), shown: "归".repeat(341) },
  { what: "what looks like JSON", sent: '{"a":"b\\n"}', shown: '{"a":"b\\n"}' },
  { what: "what CSV must quote", sent: 'a,"b",c', shown: 'a,"b",c' },
];

function latin1(first: number, last: number): string {
  return Buffer.from(Array.from({ length: last - first + 1 }, (_, index) => first + index)).toString("latin1");
}

describe.each(descriptions)("15.16 $what", ({ sent, shown }) => {
  const headers = sent === undefined ? {} : { "x-cas-archive-description": sent };

  test("of an archive: signed as its bytes, and in the inventories of both formats", async () => {
    const vault = await world.vault();
    const archive = await world.wire.upload(vault, testBytes(5), headers);
    const jobs = {
      json: await world.wire.startJob(vault, { Type: "inventory-retrieval" }),
      csv: await world.wire.startJob(vault, { Type: "inventory-retrieval", Format: "CSV" }),
    };
    await world.finishJobs();
    const output = (job: string) => world.wire.get(`/-/vaults/${vault}/jobs/${job}/output`);
    const { ArchiveList: list } = (await output(jobs.json)).json();
    expect(list).toMatchObject([{ ArchiveId: archive, ArchiveDescription: shown }]);
    const field = /[",\r\n]/.test(shown) ? `"${shown.replaceAll('"', '""')}"` : shown;
    expect((await output(jobs.csv)).body.toString("utf8")).toContain(`\r\n${archive},${field},`);
  });

  test("of a multipart upload: in the listings, and of the archive that it becomes", async () => {
    const vault = await world.vault();
    const upload = await world.wire.initiateUpload(vault, 1_048_576, sent);
    const { UploadsList: uploads } = (await world.wire.get(`/-/vaults/${vault}/multipart-uploads`)).json();
    expect(uploads).toMatchObject([{ ArchiveDescription: shown }]);
    const parts = (await world.wire.get(`/-/vaults/${vault}/multipart-uploads/${upload}`)).json();
    expect(parts.ArchiveDescription).toBe(shown);
  });
});

test("15.16 of a job: any text of JSON, up to 1024 bytes", async () => {
  const vault = await world.vault();
  for (const Description of ["归档 é", "a\nb\u0000c", "d".repeat(1024), "归".repeat(341)]) {
    const job = await world.wire.startJob(vault, { Type: "inventory-retrieval", Description });
    expect((await world.wire.get(`/-/vaults/${vault}/jobs/${job}`)).json().JobDescription).toBe(Description);
  }
});

test("3.4 blanks around a header's value are no part of it", async () => {
  const vault = await world.vault();
  const request = world.wire.uploadRequest(vault, testBytes(5), { "x-cas-archive-description": "a b" });
  const bytes = world.wire.bytesOf(request).toString("latin1").replace("description: a b", "description:  \t a b  ");
  using connection = await WireConnection.open(world.server.running.port);
  await connection.send(bytes);
  expect((await connection.receive()).status).toBe(201);
});
