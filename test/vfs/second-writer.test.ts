/** Two state directories that write to one vault: each finds out by an inventory, and then touches nothing. */

import { expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { hours } from "../../src/domain/time.js";
import { fc } from "../support/seeded-fast-check.js";
import { newArchive, testBytes } from "../support/test-bytes.js";
import {
  appending,
  caller,
  reading,
  rewriting,
  TestVault,
  type TestVaultOptions,
  vault,
} from "../support/test-file-system.js";

const readOnly = expect.objectContaining({ kind: "read-only" });

/** A state directory that finds the vault of `first` in the service, and whose first inventory is merged. */
async function secondBeside(first: TestVault, options: TestVaultOptions = {}): Promise<TestVault> {
  const second = await TestVault.createEmpty({ ...options, beside: first });
  await second.refreshInventory();
  await first.clock.advance(1000);
  return second;
}

/** `first` and `second` have both written, and `first` has seen it. */
async function detected(first: TestVault, second: TestVault): Promise<void> {
  await second.writeArchived("from the second", "second's text");
  await first.refreshInventory();
  expect(first.catalog.vault(vault)!.otherWriter?.id).toBe(second.catalog.writerId);
}

const textsIn = (it: TestVault) => it.archived();

test("after the loss of a state directory the new one writes at once: what it found is history", async () => {
  await using lost = await TestVault.create();
  await lost.writeArchived("a", "old");
  await using it = await secondBeside(lost);
  await it.writeArchived("b", "new");
  await it.writeArchived("a", "newer");
  await it.clock.advance(hours(24));
  await it.refreshInventory();
  await it.refreshInventory();
  expect(it.catalog.vault(vault)!.otherWriter).toBeNull();
  await it.writeArchived("c", "newest");
  expect(textsIn(it)).toEqual(["new", "newer", "newest"]);
});

test("what the lost one uploaded while the first inventory was made is history too", async () => {
  await using lost = await TestVault.create();
  await lost.writeArchived("a", "old");
  await using it = await TestVault.createEmpty({ beside: lost });
  // The inventory is a day old, as at the service; the lost one's last upload is not in it.
  const run = it.catalog.inventories.beginInventory(vault);
  await run.add(lost.service.archivesOf(vault));
  const takenAt = lost.clock.now();
  await lost.clock.advance(hours(1));
  await lost.writeArchived("b", "its last");
  await lost.clock.advance(hours(1));
  await run.merge(takenAt, lost.clock.now());
  await it.refreshInventory();
  expect(it.catalog.vault(vault)!.otherWriter).toBeNull();
  expect(it.names()).toEqual(["a", "b"]);
});

test("a vault that another state directory writes to is read-only, and says who, and what to do", async () => {
  await using first = await TestVault.create();
  await first.writeArchived("a", "text");
  await first.mkdir("d");
  await first.fs.symlink(first.place("link"), "a", caller);
  await using second = await secondBeside(first);
  await detected(first, second);
  const { fs } = first;
  const both = expect.objectContaining({
    message: expect.stringMatching(
      new RegExp(`${second.catalog.writerId}.*${first.catalog.writerId}.*casfs vault take-over ${vault}`),
    ),
  });
  await expect(first.write("new", "text")).rejects.toEqual(both);
  const ino = first.ino("a");
  const changes: (() => Promise<unknown>)[] = [
    () => first.open("new", rewriting),
    () => first.open("a", appending),
    () => first.open("a", { ...reading, truncate: true }),
    () => first.unlink("a"),
    () => first.rename("a", "b"),
    () => first.rename("a", "d", "exchange"),
    () => first.mkdir("e"),
    () => fs.removeDirectory(first.place("d")),
    () => fs.removeDirectory({ parent: 1 as typeof ino, name: vault }),
    () => fs.setAttributes(ino, { mode: 0o600 }),
    () => fs.setAttributes(ino, { mtime: "now" }),
    () => fs.setAttributes(ino, { sizeBytes: 1 }),
    () => fs.setAttributes(first.root, { mode: 0o700 }),
    () => fs.link(ino, first.place("f")),
    () => fs.symlink(first.place("f"), "a", caller),
    () => fs.makeNode(first.place("f"), 0o100644, 0, caller),
    () => fs.extendedAttributes.set(first.record("a"), "user.note", Buffer.from("1"), "any"),
    () => fs.extendedAttributes.remove(first.record("a"), "user.note"),
  ];
  for (const change of changes) await expect(async () => change()).rejects.toEqual(readOnly);
  expect(await first.text("a")).toBe("text");
  expect(await first.text("from the second")).toBe("second's text");
  expect(first.names()).toEqual(["a", "d", "link", "from the second"]);
  await first.evict("a");
  expect(await first.text("a")).toBe("text");
  expect(first.events).toContainEqual({ type: "vault-held", vault, message: expect.stringContaining("take-over") });
});

test("it stays read-only over a restart, until it is taken over; then what was held goes on", async () => {
  await using first = await TestVault.create({ settings: { settleMs: hours(1) } });
  await first.write("gone", "gone");
  await first.clock.advance(hours(1));
  await first.archiveAll();
  await using second = await secondBeside(first);
  await first.write("held", "held text");
  first.service.fail({ operation: "deleteArchive", error: new Error("not now") });
  await first.unlink("gone");
  await detected(first, second);
  await first.pass(hours(2));
  await first.reopen();
  await first.pass(hours(2));
  expect(first.state("held")).toBe("staged");
  expect(await first.text("held")).toBe("held text");
  expect(textsIn(first)).toEqual(["gone", "second's text"]);
  expect(first.uploads.snapshot()).toMatchObject([
    { state: "retrying", lastError: expect.stringMatching(/take-over/) },
  ]);
  await expect(first.write("b", "text")).rejects.toEqual(readOnly);

  expect(await first.catalog.takeOver(vault)).toMatchObject({ id: second.catalog.writerId });
  await first.write("b", "text");
  await first.clock.advance(hours(1));
  await first.archiveAll();
  expect(textsIn(first)).toEqual(["held text", "second's text", "text"]);
  await first.refreshInventory();
  expect(first.catalog.vault(vault)!.otherWriter).toBeNull();
});

test("who uploads after a take-over makes the vault read-only again; what was uploaded before does not", async () => {
  await using first = await TestVault.create();
  await using second = await secondBeside(first);
  await detected(first, second);
  await second.writeArchived("b", "before");
  await first.catalog.takeOver(vault);
  await first.clock.advance(1000);
  await first.refreshInventory();
  expect(first.catalog.vault(vault)!.otherWriter).toBeNull();
  await first.clock.advance(1000);
  await second.writeArchived("c", "after");
  await first.refreshInventory();
  expect(first.catalog.vault(vault)!.otherWriter).toMatchObject({ id: second.catalog.writerId });
});

test("an inventory that was read while the vault was taken over does not undo that", async () => {
  await using first = await TestVault.create();
  await using second = await secondBeside(first);
  await detected(first, second);
  const run = first.catalog.inventories.beginInventory(vault);
  await run.add(first.service.archivesOf(vault));
  await first.catalog.takeOver(vault);
  await run.merge(first.clock.now());
  expect(first.catalog.vault(vault)!.otherWriter).toBeNull();
});

test("both find out, and who takes over goes on while the other stays read-only", async () => {
  await using first = await TestVault.create();
  await using second = await secondBeside(first);
  await first.writeArchived("a", "first");
  await detected(first, second);
  await second.refreshInventory();
  await expect(second.write("c", "text")).rejects.toEqual(readOnly);
  await first.catalog.takeOver(vault);
  await first.writeArchived("d", "goes on");
  await second.refreshInventory();
  await expect(second.write("c", "text")).rejects.toEqual(readOnly);
});

test("what another writer made of a file that we have too is beside it, and both read as they were written", async () => {
  await using first = await TestVault.create();
  await first.writeArchived("a", "version 1");
  await using second = await secondBeside(first, { trash: true });
  await second.writeArchived("a", "second's version");
  await first.refreshInventory();
  const [other] = first.names().filter((name) => name !== "a");
  expect(other).toMatch(/^a \(.{8}\)$/);
  expect(await first.text("a")).toBe("version 1");
  expect(await first.text(other!)).toBe("second's version");
});

test("two writers' same version of a file are both in a fresh catalog", async () => {
  await using first = await TestVault.create({ trash: true });
  await first.writeArchived("a", "version 1");
  await using second = await secondBeside(first, { trash: true });
  await first.writeArchived("a", "first's 2");
  await second.writeArchived("a", "second's 2");
  await using third = await secondBeside(first);
  const texts: string[] = [];
  for (const name of third.names()) texts.push(await third.text(name));
  expect(texts).toEqual(expect.arrayContaining(["first's 2", "second's 2"]));
});

test("who has a file open for writing when the vault becomes read-only loses nothing of it", async () => {
  await using first = await TestVault.create();
  await using second = await secondBeside(first);
  const handle = await first.open("a", rewriting);
  await first.pwrite(handle, 0, Buffer.from("begun, "));
  await detected(first, second);
  await first.pwrite(handle, 7, Buffer.from("and finished"));
  await first.close(handle);
  await first.pass(hours(1));
  expect(textsIn(first)).toEqual(["second's text"]);
  expect(await first.text("a")).toBe("begun, and finished");
});

test("an upload of our own that was sent before is no other writer, nor are archives of other tools", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "text");
  const { service } = it;
  const body = Buffer.from("tool");
  await service.uploadArchive(vault, newArchive(body, "by/another tool"));
  await it.refreshInventory();
  await it.writeArchived("b", "text 2");
  expect(it.names()).toEqual(["a", "by", "b"]);
});

test("a state directory never deletes what another one uploaded beside it, whatever both do", async () => {
  const names = ["a", "b", "c"];
  const step = fc.oneof(
    fc.record({ do: fc.constant("write" as const), who: fc.constantFrom(0, 1), name: fc.constantFrom(...names) }),
    fc.record({ do: fc.constant("remove" as const), who: fc.constant(0), name: fc.constantFrom(...names) }),
    fc.record({ do: fc.constant("refresh" as const), who: fc.constantFrom(0, 1), name: fc.constant("") }),
    fc.record({ do: fc.constant("reopen" as const), who: fc.constant(0), name: fc.constant("") }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 14 }), async (steps) => {
      await using first = await TestVault.create();
      // With a trash, the second one deletes nothing: whatever is missing in the end was deleted by the first.
      await using second = await secondBeside(first, { trash: true });
      let count = 0;
      for (const { do: what, who, name } of steps) {
        const it = who === 0 ? first : second;
        await first.clock.advance(1000);
        if (what === "refresh") await it.refreshInventory();
        else if (what === "reopen") await it.reopen();
        else {
          const place = it.names().find((one) => one.startsWith(name));
          const change = what === "write" ? it.write(place ?? name, `text ${count++}`) : it.unlink(place ?? name);
          await change.catch(() => undefined);
          await first.pass(3000);
          await first.pass(3000);
        }
      }
      await first.pass(hours(1));
      const present = new Set(first.service.archivesOf(vault).map(({ archiveId }) => archiveId));
      const confirmed = second.events.flatMap((event) => (event.type === "upload-confirmed" ? [event.archiveId] : []));
      for (const archive of confirmed) expect(present.has(archive)).toBe(true);
    }),
    { numRuns: 6 },
  );
}, 120_000);

test("a file that does not fit begins no upload in a held vault, and one that has begun is completed: its parts are gone", async () => {
  const plan = { partSizeBytes: MIB, sizeBytesMax: 24 * MIB, thresholdBytes: 3 * MIB };
  await using first = await TestVault.create({ stagingBytes: 6 * MIB, settings: { stream: plan } });
  await first.writeArchived("a", "text");
  await using second = await secondBeside(first);
  const bytes = testBytes(9 * MIB);
  const [begun, other] = [await first.open("begun", rewriting), await first.open("other", rewriting)];
  await first.pwrite(other, 0, Buffer.from("!"));
  for (let offset = 0; offset < bytes.length; offset += MIB) {
    await first.pwrite(begun, offset, bytes.subarray(offset, offset + MIB));
  }
  await detected(first, second);
  const closed = first.close(begun);
  const state = watched(closed);
  await first.until(() => state.outcome !== "waiting");
  expect(state.outcome).toBe("done");
  expect(first.service.archivesOf(vault).some((archive) => Buffer.compare(archive.bytes, bytes) === 0)).toBe(true);

  const { initiateMultipartUpload } = first.service.calls;
  for (let offset = 0; offset < 5 * MIB; offset += MIB) await first.pwrite(other, offset, bytes.subarray(0, MIB));
  await first.clock.advance(hours(1));
  expect(first.service.calls.initiateMultipartUpload).toBe(initiateMultipartUpload);
  await first.catalog.takeOver(vault);
  await first.until(() => first.service.calls.initiateMultipartUpload > initiateMultipartUpload, { stepMs: 10_000 });
});

/** What became of a promise so far. */
function watched(work: Promise<unknown>) {
  const state: { outcome: unknown } = { outcome: "waiting" };
  work.then(
    () => {
      state.outcome = "done";
    },
    (error: unknown) => {
      state.outcome = error;
    },
  );
  return state;
}
