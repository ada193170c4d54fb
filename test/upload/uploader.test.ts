import { expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { ServiceError } from "../../src/domain/errors.js";
import type { ArchiveId } from "../../src/domain/ids.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { SimulatedCrash } from "../support/memory-journals.js";
import { contentId, partBytes, threeParts, UploadFixture, vault } from "./upload-fixture.js";

const lost = () => new ServiceError("connection", "The answer was lost");

test("a small content becomes one archive with its description, by one request", async () => {
  const fixture = await UploadFixture.create();
  const bytes = fixture.seal(1, 3 * MIB + 5);
  const outcome = await fixture.upload(1);
  expect(outcome).toMatchObject({ kind: "archived", archived: { vault, treeHash: digestOf(bytes).treeHash } });
  expect(fixture.holdsOnce(bytes)).toBe(true);
  expect(fixture.service.archivesOf(vault)[0]?.description).toBe("casfs/1 content-1");
  expect(fixture.service.calls).toMatchObject({ uploadArchive: 1, initiateMultipartUpload: 0 });
  expect(fixture.journal.crash.steps).toEqual(["didSync", "willSend", "didArchive"]);
  expect(fixture.files.openFiles).toBe(0);
});

test("a large content is sent in parts, each once", async () => {
  const fixture = await UploadFixture.create();
  const bytes = fixture.seal(1, threeParts);
  const reports: number[] = [];
  await fixture.uploader().upload(contentId(1), {
    signal: new AbortController().signal,
    onProgress: ({ sentParts }) => reports.push(sentParts),
  });
  expect(fixture.holdsOnce(bytes)).toBe(true);
  expect(fixture.service.calls).toMatchObject({ uploadPart: 3, listParts: 0, completeMultipartUpload: 1 });
  expect(reports).toEqual([1, 2, 3]);
  expect(fixture.journal.sentParts(contentId(1))).toHaveLength(3);
});

test("what to ask for again is on the disk before an upload is completed: with Complete it is gone", async () => {
  const fixture = await UploadFixture.create();
  fixture.seal(1, threeParts);
  fixture.service.onCall = (operation) => {
    if (operation !== "completeMultipartUpload") return;
    expect(fixture.journal.row(contentId(1)).progress.step).toBe("completing");
    expect(fixture.journal.flushes).toBe(1);
  };
  await fixture.upload(1);
  expect(fixture.service.calls.completeMultipartUpload).toBe(1);
});

test("the bytes are synced before anything is sent", async () => {
  const fixture = await UploadFixture.create();
  fixture.seal(1, 1000);
  fixture.service.onCall = () => expect(fixture.journal.row(contentId(1)).synced).toBe(true);
  await fixture.upload(1);
  expect(fixture.files.syncs).toBe(1);
});

test("what the disk refuses is not uploaded, nor by the next attempt, for which the disk says nothing", async () => {
  const fixture = await UploadFixture.create();
  fixture.seal(1, 1000);
  fixture.files.syncFailures = 1;
  await expect(fixture.upload(1)).rejects.toMatchObject({ kind: "corrupt" });
  expect(await fixture.upload(1)).toEqual({ kind: "dropped" });
  expect(fixture.service.calls.uploadArchive).toBe(0);
});

test("a content that is gone or superseded is not uploaded", async () => {
  const fixture = await UploadFixture.create();
  fixture.seal(1, 1000);
  fixture.journal.forget(contentId(1));
  expect(await fixture.upload(1)).toEqual({ kind: "dropped" });
  expect(fixture.service.calls.uploadArchive).toBe(0);
});

test("a staging file of another size than was sealed is never uploaded", async () => {
  const fixture = await UploadFixture.create();
  fixture.seal(1, 1000);
  fixture.files.contents.set(contentId(1), Buffer.alloc(999));
  await expect(fixture.upload(1)).rejects.toMatchObject({ kind: "corrupt" });
  expect(fixture.service.calls.uploadArchive).toBe(0);
});

const journalSteps = ["didSync", "willInitiate", "didInitiate", "didSendPart", "willComplete", "didArchive"];

test.each(journalSteps)(
  "after a crash following %s the next process archives the content, sending no part twice",
  async (step) => {
    const fixture = await UploadFixture.create();
    const bytes = fixture.seal(1, threeParts);
    fixture.journal.crash.crashAfter(step);
    await expect(fixture.upload(1)).rejects.toThrow(SimulatedCrash);
    fixture.journal.crash.restart();

    for (const { content } of fixture.journal.pending()) await fixture.upload(content);
    expect(fixture.holdsOnce(bytes)).toBe(true);
    expect(fixture.service.calls.uploadPart).toBe(3);
    expect(fixture.service.calls.completeMultipartUpload).toBe(1);
  },
);

test("a crash between Upload Archive and its answer makes a twin, and the content is archived", async () => {
  const fixture = await UploadFixture.create();
  const bytes = fixture.seal(1, 1000);
  fixture.service.fail({ operation: "uploadArchive", error: lost(), when: "after" });
  await expect(fixture.upload(1)).rejects.toMatchObject({ fault: "connection" });
  const outcome = await fixture.upload(1);
  expect(outcome.kind).toBe("archived");
  const twins = fixture.service.archivesOf(vault).filter((archive) => archive.bytes.equals(bytes));
  expect(twins).toHaveLength(2);
});

test("an upload resumes with the parts the service has, also those whose answer was lost", async () => {
  const fixture = await UploadFixture.create();
  const bytes = fixture.seal(1, threeParts);
  fixture.service.fail({ operation: "uploadPart", error: lost(), when: "after", skip: 1 });
  await expect(fixture.upload(1)).rejects.toMatchObject({ fault: "connection" });
  const sentBefore = fixture.service.calls.uploadPart;
  await fixture.upload(1);
  expect(fixture.holdsOnce(bytes)).toBe(true);
  expect(fixture.service.calls.uploadPart).toBe(3);
  expect(fixture.eventsOf("upload-resumed")).toMatchObject([{ partsKept: sentBefore }]);
});

test("a part that the service holds with other bytes is sent again", async () => {
  const fixture = await UploadFixture.create();
  const bytes = fixture.seal(1, threeParts);
  fixture.journal.crash.crashAfter("willComplete");
  await expect(fixture.upload(1)).rejects.toThrow(SimulatedCrash);
  fixture.journal.crash.restart();
  const { progress } = fixture.journal.row(contentId(1));
  if (progress.step !== "completing") throw new Error("The upload is not completing");
  const other = Buffer.alloc(partBytes, 7);
  const { sha256, treeHash } = digestOf(other);
  const range = { start: 0, end: partBytes } as never;
  await fixture.service.uploadPart(vault, progress.uploadId, {
    body: async function* () {
      yield other;
    },
    range,
    sha256,
    treeHash,
  });

  await fixture.upload(1);
  expect(fixture.holdsOnce(bytes)).toBe(true);
  expect(fixture.service.calls.uploadPart).toBe(5);
});

test("a lost answer to Complete is asked for again and makes no second archive", async () => {
  const fixture = await UploadFixture.create();
  const bytes = fixture.seal(1, threeParts);
  fixture.service.fail({ operation: "completeMultipartUpload", error: lost(), when: "after" });
  await expect(fixture.upload(1)).rejects.toMatchObject({ fault: "connection" });
  await fixture.upload(1);
  expect(fixture.holdsOnce(bytes)).toBe(true);
  expect(fixture.service.calls).toMatchObject({
    uploadPart: 3,
    completeMultipartUpload: 2,
    initiateMultipartUpload: 1,
  });
});

test("when the service has forgotten the upload, it starts anew in the same attempt", async () => {
  const fixture = await UploadFixture.create();
  const bytes = fixture.seal(1, threeParts);
  fixture.journal.crash.crashAfter("didSendPart");
  await expect(fixture.upload(1)).rejects.toThrow(SimulatedCrash);
  fixture.journal.crash.restart();
  await fixture.clock.advance(25 * 3600 * 1000);
  await fixture.upload(1);
  expect(fixture.holdsOnce(bytes)).toBe(true);
  expect(fixture.service.calls.initiateMultipartUpload).toBe(2);
  expect(fixture.journal.crash.steps).toContain("didLoseUpload");
});

test("a Complete that is refused again and again gives the upload up, and the next attempt starts anew", async () => {
  const fixture = await UploadFixture.create();
  const bytes = fixture.seal(1, threeParts);
  const error = new ServiceError("refused", "The parts do not add up");
  fixture.service.fail({ operation: "completeMultipartUpload", error, times: 3 });
  await expect(fixture.upload(1)).rejects.toThrow("add up");
  await expect(fixture.upload(1)).rejects.toThrow("add up");
  expect(fixture.service.calls.abortMultipartUpload).toBe(1);
  await fixture.upload(1);
  expect(fixture.holdsOnce(bytes)).toBe(true);
});

test("a missing vault is reported, not taken for a forgotten upload", async () => {
  const fixture = await UploadFixture.create();
  fixture.seal(1, threeParts);
  await fixture.service.deleteVault(vault);
  await expect(fixture.upload(1)).rejects.toMatchObject({ fault: "missing" });
  expect(fixture.journal.crash.steps).not.toContain("didLoseUpload");
});

test("an abort stops the parts that are in flight and keeps what was sent", async () => {
  const fixture = await UploadFixture.create();
  fixture.seal(1, threeParts);
  const controller = new AbortController();
  fixture.service.onCall = (operation) => {
    if (operation === "uploadPart" && fixture.service.calls.uploadPart === 2) controller.abort(new Error("enough"));
  };
  await expect(fixture.upload(1, controller.signal)).rejects.toThrow("enough");
  expect(fixture.files.openFiles).toBe(0);
  expect(fixture.journal.row(contentId(1)).progress.step).toBe("parts");
});

test("parts in flight are bounded by the concurrency", async () => {
  const fixture = await UploadFixture.create();
  fixture.seal(1, 5 * partBytes);
  let inFlight = 0;
  let most = 0;
  fixture.service.onCall = async (operation) => {
    if (operation !== "uploadPart") return;
    inFlight += 1;
    most = Math.max(most, inFlight);
    await new Promise((resolve) => setTimeout(resolve, 5));
    inFlight -= 1;
  };
  await fixture.uploader({ partConcurrency: 3 }).upload(contentId(1), { signal: new AbortController().signal });
  expect(most).toBe(3);
});

test("the archive id of the service is what the journal gets", async () => {
  const fixture = await UploadFixture.create();
  fixture.seal(1, 10);
  await fixture.upload(1);
  const ids: ArchiveId[] = fixture.service.archivesOf(vault).map(({ archiveId }) => archiveId);
  expect(fixture.journal.row(contentId(1)).archived?.archiveId).toBe(ids[0]);
});
