/** The steps of the demo. Each says what it does, does it with the program a user would take, and says what was seen. */

import { stat } from "node:fs/promises";
import { controlClient } from "../../app/control-client.js";
import { controlSocketPath } from "../../app/control-socket.js";
import { systemClock } from "../../app/system-clock.js";
import { CorruptError } from "../../domain/errors.js";
import { ms } from "../../domain/time.js";
import { formatDuration } from "../../lib/amount-text.js";
import { type Checksums, checksumsOf, differences } from "./checksums.js";
import type { DemoPlace } from "./demo-place.js";
import type { Guide } from "./guide.js";
import type { Programs } from "./programs.js";
import { bigFile, makeSampleTree, type Sample } from "./sample-tree.js";

interface Demo {
  readonly place: DemoPlace;
  readonly programs: Programs;
  readonly guide: Guide;
}

const vault = "archive/project";

/** @throws CasfsError when a step fails or a single byte differs at the end. */
export async function roundTrip(demo: Demo): Promise<void> {
  const startedAt = systemClock.now();
  const sample = await makeSampleTree(demo.place.path("source"), demo.programs);
  const before = await checksumsOf(demo.place.path("source"), demo.programs.signal);
  await mount(demo);
  await copyIn(demo, sample);
  await waitUntilArchived(demo, sample);
  await dropLocalCopies(demo);
  const cold = await openColdFile(demo, before);
  await restoreAll(demo, cold);
  await compare(demo, before);
  await unmount(demo);
  demo.guide.say(`The round trip took ${formatDuration(systemClock.now() - startedAt)}.`);
}

async function mount(demo: Demo): Promise<void> {
  demo.guide.step(
    "Mount an archive. Its service runs inside the mount here; a recall takes 2 seconds instead of hours.",
  );
  const settings = ["--settle", "1m", "--keep-free", "64MiB", "--log-level", "error"];
  const commandLine = ["archive", "--local", "service", "--state", "state", ...settings];
  demo.guide.command("casfs", ["mount", ...commandLine]);
  const { child, ready } = demo.programs.startMount(commandLine);
  demo.place.mountProcess = child; // before anything is awaited: it must not outlive the demo
  demo.guide.output(await ready);
}

async function copyIn(demo: Demo, sample: Sample): Promise<void> {
  demo.guide.step(`A directory at the top is a vault. Make one and copy in ${sample.text}.`);
  await demo.guide.run("mkdir", [vault]);
  const { durationMs } = await demo.guide.run("cp", ["-a", "source/.", vault]);
  demo.guide.say(
    `cp took ${formatDuration(durationMs)}: the files are safe on this disk, and are uploaded after a rest (--settle).`,
  );
  const { text } = await demo.guide.run("ls", [vault], { quiet: true });
  const names = text.split("\n");
  demo.guide.output([...names.slice(0, 5), `... ${names.length} names`].join("\n"));
}

async function waitUntilArchived(demo: Demo, { emptyFiles }: Sample): Promise<void> {
  demo.guide.step("Upload without that rest, and wait until the vault has everything.");
  const arrived = demo.guide.run("casfs", ["wait", vault]);
  const seen = await watchParts(demo, arrived);
  const { durationMs } = await arrived;
  const parts = seen === 0 ? "" : ` ${bigFile.name} went in ${seen} parts.`;
  const empty = emptyFiles === 0 ? "" : ` ${emptyFiles} files are empty and need no archive.`;
  demo.guide.say(`Everything was archived after ${formatDuration(durationMs)}.${parts}${empty}`);
  await demo.guide.run("casfs", ["status", "archive"]);
}

/** Tells how far the big file is until `arrived` settles; the number of its parts, 0 when there was nothing to see. */
async function watchParts(demo: Demo, arrived: Promise<unknown>): Promise<number> {
  const client = controlClient(controlSocketPath(demo.place.path("state")));
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  arrived.then(over, over);
  let parts = 0;
  let told = -1;
  while (!isOver) {
    const status = await client.status().catch(() => undefined);
    const upload = status?.uploads.find(({ path, parts: count }) => path.endsWith(bigFile.name) && count > 1);
    if (upload !== undefined && upload.partsSent !== told) {
      ({ parts, partsSent: told } = upload);
      demo.guide.output(`${upload.path}: ${upload.partsSent} of ${parts} parts sent`);
    }
    await systemClock.sleep(ms(250), { signal: demo.programs.signal });
  }
  client.close();
  return parts;
}

async function dropLocalCopies(demo: Demo): Promise<void> {
  demo.guide.step(
    "Drop the local copies. Names, sizes and times stay; the contents are only in the vault: they are cold.",
  );
  await demo.guide.run("du", ["-sh", vault]);
  await demo.guide.run("casfs", ["evict", vault]);
  await demo.guide.run("du", ["-sh", vault]);
  await demo.guide.run("ls", ["-l", `${vault}/${bigFile.name}`]);
}

/** The file that was read. */
async function openColdFile(demo: Demo, sums: Checksums): Promise<string> {
  demo.guide.step("Read a cold file. Opening it orders its recall and waits for it.");
  const cold = `${vault}/${await someFile(demo, sums)}`;
  const first = await demo.guide.run("cat", [cold], { quiet: true });
  const second = await demo.guide.run("cat", [cold], { quiet: true });
  const again = `the second time it was here and took ${formatDuration(second.durationMs)}`;
  demo.guide.say(`The first time it took ${formatDuration(first.durationMs)}; ${again}.`);
  return cold;
}

async function someFile(demo: Demo, sums: Checksums): Promise<string> {
  for (const path of [...sums.keys()].filter((name) => /\/package\.json$/.test(name)).sort()) {
    if ((await stat(demo.place.path("source", path))).isFile()) return path;
  }
  return bigFile.name;
}

async function restoreAll(demo: Demo, alreadyHere: string): Promise<void> {
  demo.guide.step(`Restore all the rest at once, not file by file; ${alreadyHere.split("/").at(-1)} is here already.`);
  const { durationMs } = await demo.guide.run("casfs", ["restore", "-r", "--wait", vault]);
  demo.guide.say(`That took ${formatDuration(durationMs)}.`);
}

async function compare(demo: Demo, before: Checksums): Promise<void> {
  demo.guide.step("Compare every file with what was copied in: SHA-256, permissions, times and link targets.");
  const after = await checksumsOf(demo.place.path(vault), demo.programs.signal);
  const different = differences(before, after);
  if (different.length > 0) {
    const some = different.slice(0, 5).join(", ");
    throw new CorruptError(`The round trip changed ${different.length} of ${before.size} entries: ${some}`);
  }
  demo.guide.say(`All ${before.size} entries are the same.`);
}

async function unmount(demo: Demo): Promise<void> {
  demo.guide.step("Unmount.");
  await demo.guide.run("casfs", ["unmount", "archive"]);
}
