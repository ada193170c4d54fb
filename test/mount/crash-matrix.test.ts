/**
 * kill -9 of a real mount at every step that it takes, its recovery included.
 *
 * Each scenario runs again and again until no step of it is left at which the mount has not died once. After each death
 * the next process finds the same state and service, and what every call had promised until then has to be there.
 * With CASFS_CRASH_MATRIX=all a step counts anew in every scenario, and so do the uploads after a recovery: three times
 * as many deaths.
 */

import { mkdir } from "node:fs/promises";
import { relative } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { whyNoMount } from "../support/fuse-environment.js";
import { KilledMount } from "../support/killed-mount.js";
import { PromisedTree, survived } from "../support/promised-tree.js";
import { reportingStalls } from "../support/stall-report.js";
import { asking, expectPromisesKept, expectVaultHolds, settled } from "../support/survivors.js";
import { testBytes } from "../support/test-bytes.js";

const reason = whyNoMount();
const vault = "v";
const attemptsMax = 120;
const isThorough = process.env.CASFS_CRASH_MATRIX === "all";
const testTimeoutMs = isThorough ? 1_200_000 : 400_000;
/** Of all mounts of this file. */
const deaths: string[] = [];

interface Scenario {
  /** Before any step is counted. */
  readonly prepare?: (tree: PromisedTree) => Promise<void>;
  readonly run: (tree: PromisedTree) => Promise<void>;
}

describe.skipIf(reason !== undefined)(`a death at every step${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: KilledMount;
  const trees: PromisedTree[] = [];

  beforeAll(async () => {
    const options = ["--settle", "1h", "--rewrite-interval", "0s", "--multipart-threshold", "16MiB", "--no-trash"];
    mount = await KilledMount.make(options, { deaths });
    await mount.start();
    await mkdir(mount.place.path(vault));
  }, 60_000);

  afterAll(async () => {
    await mount?.[Symbol.asyncDispose]();
  }, 60_000);

  /** Runs a scenario until it comes through, and dies at each of its steps before. @returns the steps. */
  async function dieEverywhere(heading: string, scenario: Scenario): Promise<readonly string[]> {
    const before = deaths.length;
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const isThrough = await reportingStalls(
        `${heading}, attempt ${attempt},`,
        mount,
        dieOnce(heading, attempt, scenario),
      );
      if (isThrough) return deaths.slice(before);
    }
    throw new Error(`${heading} has not come through: ${deaths.slice(-5).join("; ")}`);
  }

  /** @returns whether the mount has lived through it. */
  async function dieOnce(heading: string, attempt: number, { prepare, run }: Scenario): Promise<boolean> {
    const root = mount.place.path(vault, `${heading.replaceAll(" ", "-")}-${attempt}`);
    await mkdir(root);
    const tree = new PromisedTree(root, () => mount.isDead);
    trees.push(tree);
    await prepare?.(tree);
    await mount.watch({ heading: headingOf(heading), known: deaths });
    const isThrough = await survived(async () => {
      await run(tree);
      await settled(mount);
    });
    if (isThrough) {
      await mount.watch(undefined);
      if (!mount.isDead) {
        await tree.check();
        return true;
      }
    }
    await recovered(tree);
    return false;
  }

  /** Starts until a recovery comes through that has died at each of its steps, its uploads included. */
  async function recovered(tree: PromisedTree): Promise<void> {
    do {
      await mount.dead();
      await mount.start(() => ({ heading: "recovery", known: deaths }));
      if (!isThorough) await mount.watch(undefined);
      await survived(async () => {
        await expectPromisesKept(mount, [tree]);
        await settled(mount);
      });
      await mount.watch(undefined);
    } while (mount.isDead);
  }

  const text = (length: number, from = 0) => testBytes(length, from);

  test(
    "creating, writing, fsync and close, until the file is archived",
    async () => {
      await dieEverywhere("create", {
        run: async (tree) => {
          await tree.write("a", text(5000));
          await tree.writeSyncWrite("b", text(2000), text(3000, 7));
          await tree.write("empty", Buffer.alloc(0));
        },
      });
    },
    testTimeoutMs,
  );

  test(
    "rewriting, appending, writing in the middle and cutting what is archived, until the former archives are deleted",
    async () => {
      await dieEverywhere("change", {
        prepare: async (tree) => {
          for (const name of ["a", "b", "c", "d", "e"]) await tree.write(name, text(4000, name.charCodeAt(0)));
          await settled(mount);
        },
        run: async (tree) => {
          await tree.write("a", text(4500, 1));
          await tree.append("b", text(1000, 2));
          await tree.patch("c", 3000, text(2000, 3));
          await tree.truncate("d", 1234);
          await tree.write("e", Buffer.alloc(0));
          await tree.append("a", text(10, 4));
        },
      });
    },
    testTimeoutMs,
  );

  test(
    "names: mkdir, rename over a file, hard link, symlink, attribute, unlink, rmdir",
    async () => {
      await dieEverywhere("names", {
        prepare: async (tree) => {
          await tree.mkdir("old");
          for (const name of ["old/a", "b", "c", "d"]) await tree.write(name, text(3000, name.charCodeAt(0)));
          await settled(mount);
          await tree.write("staged", text(2500, 9));
        },
        run: async (tree) => {
          await tree.mkdir("new");
          await tree.mkdir("new/deep");
          await tree.rename("old/a", "new/deep/a");
          await tree.rename("staged", "b");
          await tree.link("b", "new/link");
          await tree.symlink("link", "new/symlink");
          await tree.setNote("c", "kept");
          await tree.rename("new", "newer");
          await tree.unlinkWhileOpen("d", text(100));
          await tree.unlink("b");
          await tree.rmdir("old");
        },
      });
    },
    testTimeoutMs,
  );

  test(
    "an upload in parts",
    async () => {
      await dieEverywhere("parts", { run: (tree) => tree.write("large", text(16 * MIB + 1)) });
    },
    testTimeoutMs,
  );

  test(
    "evicting a file, recalling it, and its landing",
    async () => {
      await dieEverywhere("recall", {
        prepare: async (tree) => {
          await tree.write("a", text(200_000));
          await settled(mount);
        },
        run: async (tree) => {
          await asking(mount, (control) => control.evict({ paths: [pathInMount(tree)] }));
          await tree.read("a");
        },
      });
    },
    testTimeoutMs,
  );

  test("no kind of step was left out", () => {
    const missed = [
      ...stepKinds,
      ...requestKinds.flatMap((name) => requestMoments.map((moment) => `${moment} ${name}`)),
    ].filter((kind) => !deaths.some((death) => death.endsWith(`: ${kind}`)));
    expect(missed).toEqual([]);
  });

  test(
    "after all these deaths each file is once in the vault, and nothing else",
    async () => {
      const lostInitiates = deaths.filter((death) => /: (sent|answer to) initiateMultipartUpload$/.test(death)).length;
      await expectVaultHolds(mount, { vault, trees, lostInitiates });
      for (const tree of trees) await tree.check();
    },
    testTimeoutMs,
  );

  const pathInMount = (tree: PromisedTree) => relative(mount.place.mountpoint, tree.root).split("/");
});

describe.skipIf(reason !== undefined)(`a new state directory${reason ? ` (skipped: ${reason})` : ""}`, () => {
  test(
    "dies at every step of the first inventory, and then shows all files",
    async () => {
      await using mount = await KilledMount.make(["--settle", "1h"], { deaths });
      await mount.start();
      const tree = new PromisedTree(mount.place.path(vault), () => mount.isDead);
      await mkdir(tree.root);
      await tree.mkdir("d");
      await tree.write("a", testBytes(3000));
      await tree.write("d/b", testBytes(4000, 5));
      await settled(mount);
      await mount.stop();
      for (;;) {
        mount.forgetState();
        const before = deaths.length;
        do {
          await mount.start(() => ({ heading: headingOf("inventory"), known: deaths }));
          const isShown = async () => (await asking(mount, (control) => control.status())).vaults[0]?.visible;
          await survived(async () => {
            while (!(await isShown())) await new Promise((resolve) => setTimeout(resolve, 10));
            await tree.check();
          });
          await mount.watch(undefined);
          if (mount.isDead) await mount.dead();
        } while (mount.isDead);
        await tree.check();
        await mount.kill();
        if (deaths.length === before) break;
      }
      const wanted = ["initiateJob", "listJobs", "getJobOutput"].map(
        (name) => `${headingOf("inventory")}: answer to ${name}`,
      );
      expect(deaths).toEqual(expect.arrayContaining(wanted));
    },
    testTimeoutMs,
  );
});

/** Beside the commits, which have too many names to be told here. */
const stepKinds = [
  "create a staged file",
  "write a staged file",
  "cut a staged file",
  "copy to a staged file",
  "sync a staged file",
  "sync the staging directory",
  "sync the log",
  "link a cached file",
  "remove a staged file",
  "remove a cached file",
  "write a landing file",
  "sync a landing file",
  "rename to a cached file",
  "sync a cache directory",
];
const requestMoments = ["about to send", "sent", "answer to"];
const requestKinds = [
  "uploadArchive",
  "initiateMultipartUpload",
  "uploadPart",
  "completeMultipartUpload",
  // Only of an upload that goes on after a death.
  ...(isThorough ? ["listParts"] : []),
  "deleteArchive",
  "initiateJob",
  "getJobOutput",
];

function headingOf(scenario: string): string {
  return isThorough ? scenario : "step";
}
