import { expect, test } from "vitest";
import { ServiceError } from "../../src/domain/errors.js";
import type { Instant } from "../../src/domain/time.js";
import { UploadQueue } from "../../src/upload/upload-queue.js";
import { settled } from "../support/fake-clock.js";
import { contentId, threeParts, UploadFixture } from "./upload-fixture.js";

const unavailable = () => new ServiceError("unavailable", "Come back later");

async function fixture({ concurrency = 2 } = {}) {
  const base = await UploadFixture.create();
  const { journal, clock, observer, service } = base;
  const newQueue = () => {
    const uploader = base.uploader();
    return new UploadQueue({ uploader, journal, clock, random: () => 0.5, observer }, { concurrency });
  };
  const at = (ms: number) => (clock.now() + ms) as Instant;
  return { base, journal, clock, service, newQueue, queue: newQueue(), at };
}

/** Lets real work (hashing in memory, streams) come to its end. */
async function quiet(): Promise<void> {
  for (let turn = 0; turn < 40; turn++) await settled();
}

test("a content is uploaded when it has settled, not before", async () => {
  const { base, queue, clock, service, at } = await fixture();
  const bytes = base.seal(1, 1000);
  queue.enqueue(contentId(1), at(2000));
  const archived = queue.whenArchived(contentId(1));
  await clock.advance(1999);
  await quiet();
  expect(service.calls.uploadArchive).toBe(0);
  expect(queue.snapshot()).toMatchObject([{ state: "settling", sizeBytes: 1000, attempts: 0 }]);
  await clock.advance(1);
  await archived;
  expect(base.holdsOnce(bytes)).toBe(true);
  expect(queue.size).toBe(0);
  await queue.close();
});

test("settling again moves the due time; expedite ends it", async () => {
  const { base, queue, clock, service, at } = await fixture();
  base.seal(1, 1000);
  queue.enqueue(contentId(1), at(2000));
  await clock.advance(1500);
  queue.enqueue(contentId(1), at(2000));
  await clock.advance(1900);
  await quiet();
  expect(service.calls.uploadArchive).toBe(0);
  queue.expedite(contentId(1));
  await queue.whenArchived(contentId(1));
  await queue.close();
  expect(clock.sleepers).toBe(0);
});

test("start takes over what the journal has pending", async () => {
  const { base, queue, clock } = await fixture();
  const all = [1, 2, 3].map((content) => base.seal(content, 1000 * content));
  queue.start();
  await quiet();
  await clock.advance(1);
  expect(all.every((bytes) => base.holdsOnce(bytes))).toBe(true);
  await queue.close();
});

test("what a clock that was years ahead has scheduled is uploaded once the clock is right", async () => {
  const { base, queue, clock, at } = await fixture();
  const bytes = base.seal(1, 1000);
  const year = 365 * 24 * 3_600_000;
  queue.enqueue(contentId(1), at(4 * year));
  await queue.whenArchived(contentId(1));
  expect(base.holdsOnce(bytes)).toBe(true);
  await queue.close();
  expect(clock.sleepers).toBe(0);
});

test("no more contents than the concurrency are in flight", async () => {
  const { base, queue, service } = await fixture({ concurrency: 3 });
  let inFlight = 0;
  let most = 0;
  service.onCall = async () => {
    most = Math.max(most, ++inFlight);
    await new Promise((resolve) => setTimeout(resolve, 2));
    inFlight -= 1;
  };
  for (let content = 1; content <= 12; content++) base.seal(content, 100);
  queue.start();
  await Promise.all(Array.from({ length: 12 }, (_, index) => queue.whenArchived(contentId(index + 1))));
  expect(most).toBe(3);
  await queue.close();
});

test("a failing content is tried again, later and later, and holds up no other", async () => {
  const { base, queue, clock, service, journal } = await fixture({ concurrency: 1 });
  const failing = base.seal(1, 1000);
  const other = base.seal(2, 2000);
  service.onCall = (operation, [, archive]) => {
    const isFailing = (archive as { sizeBytes?: number })?.sizeBytes === 1000;
    if (operation === "uploadArchive" && isFailing && service.calls.uploadArchive < 7) throw unavailable();
  };
  queue.start();
  await quiet();
  expect(base.holdsOnce(other)).toBe(true);
  expect(queue.snapshot()).toMatchObject([{ state: "retrying", attempts: 1, lastError: "Come back later" }]);
  expect(journal.row(contentId(1))).toMatchObject({ attempts: 1, lastError: "Come back later" });
  const delays = () => base.eventsOf("upload-failed").map(({ retryInMs }) => retryInMs);
  for (let round = 0; round < 200 && !base.holdsOnce(failing); round++) {
    await clock.advance(1000);
    await quiet();
  }
  expect(delays()).toEqual([1500, 2500, 4500, 8500, 16500]);
  expect(base.holdsOnce(failing)).toBe(true);
  await queue.close();
});

test("what somebody has to repair is tried again slowly, at most every five minutes apart", async () => {
  const { base, queue, clock, service } = await fixture();
  base.seal(1, 1000);
  service.fail({ operation: "uploadArchive", error: new ServiceError("denied", "Wrong key"), times: 6 });
  queue.start();
  for (let round = 0; round < 25; round++) {
    await quiet();
    await clock.advance(60_000);
  }
  const delays = base.eventsOf("upload-failed").map(({ retryInMs }) => retryInMs);
  expect(Math.min(...delays)).toBeGreaterThanOrEqual(60_000);
  expect(Math.max(...delays)).toBeLessThanOrEqual(300_000);
  await quiet();
  expect(queue.size).toBe(0);
  await queue.close();
});

test("cancel aborts what is in flight, rejects the waiters and lets the content be enqueued anew", async () => {
  const { base, queue, clock, service, at } = await fixture();
  base.seal(1, threeParts);
  const started = new Promise<void>((resolve) => {
    service.onCall = (operation) => {
      if (operation === "uploadPart") resolve();
    };
  });
  queue.enqueue(contentId(1), at(0));
  const waiting = queue.whenArchived(contentId(1));
  const rejected = expect(waiting).rejects.toMatchObject({ kind: "cancelled" });
  await started;
  const cancelled = queue.cancel(contentId(1));
  queue.enqueue(contentId(1), at(1000));
  await cancelled;
  await rejected;
  expect(base.files.openFiles).toBe(0);
  const again = queue.whenArchived(contentId(1));
  await clock.advance(1000);
  await again;
  expect(base.eventsOf("upload-failed")).toEqual([]);
  await queue.close();
});

test("a content that was dropped in the journal leaves the queue, and its waiters are told", async () => {
  const { base, queue, journal, at } = await fixture();
  base.seal(1, 1000);
  journal.forget(contentId(1));
  queue.enqueue(contentId(1), at(0));
  await expect(queue.whenArchived(contentId(1))).rejects.toMatchObject({ kind: "cancelled" });
  expect(queue.size).toBe(0);
  await queue.close();
});

test("a waiter that gives up changes nothing", async () => {
  const { base, queue, at } = await fixture();
  const bytes = base.seal(1, 1000);
  queue.enqueue(contentId(1), at(60_000));
  const controller = new AbortController();
  const waiting = queue.whenArchived(contentId(1), { signal: controller.signal });
  controller.abort(new Error("no patience"));
  await expect(waiting).rejects.toThrow("no patience");
  queue.expedite(contentId(1));
  await queue.whenArchived(contentId(1));
  expect(base.holdsOnce(bytes)).toBe(true);
  await queue.close();
});

test("closing aborts what is in flight, waits for it, and the next process finishes it", async () => {
  const { base, queue, newQueue, service, journal, clock, at } = await fixture();
  const bytes = base.seal(1, threeParts);
  const started = new Promise<void>((resolve) => {
    service.onCall = (operation) => {
      if (operation === "uploadPart") resolve();
    };
  });
  queue.enqueue(contentId(1), at(0));
  const rejected = expect(queue.whenArchived(contentId(1))).rejects.toMatchObject({ kind: "cancelled" });
  await started;
  await queue.close();
  await rejected;
  expect(base.files.openFiles).toBe(0);
  expect(journal.row(contentId(1)).attempts).toBe(0);
  queue.enqueue(contentId(2), at(0)); // Too late, and harmless.

  const next = newQueue();
  next.start();
  await next.whenArchived(contentId(1));
  expect(base.holdsOnce(bytes)).toBe(true);
  expect(clock.sleepers).toBe(0);
  await next.close();
});

test("progress is shown while parts are sent", async () => {
  const { base, queue, service, at } = await fixture();
  base.seal(1, threeParts);
  const seen: unknown[] = [];
  service.onCall = (operation) => {
    if (operation === "completeMultipartUpload") seen.push(queue.progress(contentId(1)), queue.status(contentId(1)));
  };
  queue.enqueue(contentId(1), at(0));
  await queue.whenArchived(contentId(1));
  expect(seen[0]).toEqual({ partsSent: 3, parts: 3 });
  expect(seen[1]).toMatchObject({ state: "uploading", sentBytes: threeParts, nextAttemptAt: null });
  await queue.close();
});

test("ten thousand settling contents cost one sleeper", async () => {
  const { base, queue, clock, journal, at } = await fixture();
  for (let content = 1; content <= 10_000; content++) {
    journal.seal(contentId(content), "photos" as never, 1);
    queue.enqueue(contentId(content), at(60_000 + (content % 100)));
  }
  await settled();
  expect(clock.sleepers).toBe(1);
  expect(base.service.calls.uploadArchive).toBe(0);
  await queue.close();
  expect(clock.sleepers).toBe(0);
});

/** A watcher that counts what it hears. */
function watcher() {
  const heard = { progressed: 0, left: 0 };
  return {
    heard,
    progressed: () => {
      heard.progressed += 1;
    },
    left: () => {
      heard.left += 1;
    },
    hasRoomComing: () => false,
  };
}

test("while somebody hurries nothing rests; afterwards what is left rests again", async () => {
  const { base, queue, clock, service, at } = await fixture({ concurrency: 1 });
  base.seal(1, 1000);
  base.seal(2, 2000);
  base.seal(3, 3000);
  queue.enqueue(contentId(1), at(30_000));
  queue.enqueue(contentId(2), at(10_000));
  queue.enqueue(contentId(3), at(20_000));
  await quiet();
  expect(service.calls.uploadArchive).toBe(0);
  const first = queue.whenArchived(contentId(2));
  const stop = queue.hurry(watcher());
  await first;
  stop();
  await quiet();
  const before = service.calls.uploadArchive;
  expect(before).toBeLessThan(3);
  await clock.advance(30_000);
  await quiet();
  expect(queue.size).toBe(0);
  await queue.close();
});

test("a hurry takes what would be due first, then what has failed before, and temporary names when alone", async () => {
  const base = await UploadFixture.create();
  const { journal, clock, observer, service } = base;
  const isTemporary = (content: number) => content === 3;
  const parts = { uploader: base.uploader(), journal, clock, random: () => 0.5, observer, isTemporary };
  const queue = new UploadQueue(parts, { concurrency: 1 });
  const sent: number[] = [];
  service.onCall = (operation, [, archive]) => {
    if (operation === "uploadArchive") sent.push((archive as { sizeBytes: number }).sizeBytes);
  };
  service.fail({ operation: "uploadArchive", error: new ServiceError("denied", "Wrong key"), times: 1 });
  base.seal(1, 1000);
  queue.enqueue(contentId(1), clock.now());
  await quiet();
  for (const [content, sizeBytes, dueIn] of [
    [2, 2000, 90_000],
    [3, 3000, 80_000],
    [4, 4000, 70_000],
  ] as const) {
    base.seal(content, sizeBytes);
    queue.enqueue(contentId(content), (clock.now() + dueIn) as Instant);
  }
  const watching = watcher();
  queue.hurry(watching);
  for (let round = 0; round < 10 && queue.size > 0; round++) await quiet();
  expect(sent).toEqual([1000, 4000, 2000, 1000, 3000]);
  expect(watching.heard.left).toBe(4);
  expect(watching.heard.progressed).toBeGreaterThanOrEqual(4);
  await queue.close();
});

test("while room is on its way no temporary name is uploaded; asked again it is", async () => {
  const base = await UploadFixture.create();
  const { journal, clock, observer } = base;
  const parts = { uploader: base.uploader(), journal, clock, random: () => 0.5, observer, isTemporary: () => true };
  const queue = new UploadQueue(parts, { concurrency: 1 });
  base.seal(1, 1000);
  queue.enqueue(contentId(1), (clock.now() + 70_000) as Instant);
  let isComing = true;
  const watching = { ...watcher(), hasRoomComing: () => isComing };
  queue.hurry(watching);
  await quiet();
  expect(queue.size).toBe(1);
  isComing = false;
  queue.hurry(watching);
  for (let round = 0; round < 10 && queue.size > 0; round++) await quiet();
  expect(queue.size).toBe(0);
  await queue.close();
});

test("a failing upload is no progress, and is not tried at once again", async () => {
  const { base, queue, service } = await fixture();
  base.seal(1, 1000);
  service.fail({ operation: "uploadArchive", error: unavailable(), times: 5 });
  const watching = watcher();
  queue.hurry(watching);
  queue.start();
  await quiet();
  await quiet();
  expect(service.calls.uploadArchive).toBe(1);
  expect(watching.heard).toEqual({ progressed: 0, left: 0 });
  await queue.close();
});

test("bytes on their way are progress, but not when they are sent again", async () => {
  const { base, journal, clock } = await fixture();
  const { observer } = base;
  const sealed = base.seal(1, 1000);
  let attempt = 0;
  const uploader: Pick<ReturnType<typeof base.uploader>, "upload"> = {
    async upload(_content, { onTaken }) {
      attempt += 1;
      for (let taken = 0; taken < sealed.length + 500; taken += 100) onTaken?.(100);
      throw unavailable();
    },
  };
  const queue = new UploadQueue({ uploader, journal, clock, random: () => 0.5, observer }, { concurrency: 1 });
  const watching = watcher();
  queue.hurry(watching);
  queue.start();
  for (let round = 0; round < 5; round++) {
    await quiet();
    await clock.advance(60_000);
  }
  expect(attempt).toBeGreaterThan(2);
  expect(watching.heard.progressed).toBe(10);
  await queue.close();
});
