/**
 * kill -9 at random moments under a running load, again and again, on one state and one service.
 *
 * Four writers change a tree each, as fast as they can, and remember what every call has promised. Half of the deaths
 * come at a random time, half at a random step. CASFS_RANDOM_KILLS says how many (15).
 */

import { mkdir } from "node:fs/promises";
import { relative } from "node:path";
import { describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { eventually, whyNoMount } from "../support/fuse-environment.js";
import { KilledMount } from "../support/killed-mount.js";
import { PromisedTree, survived } from "../support/promised-tree.js";
import { asking, expectPromisesKept, expectVaultHolds } from "../support/survivors.js";
import { randomNumbers, testSeed } from "../support/test-seed.js";

const reason = whyNoMount();
const kills = Number(process.env.CASFS_RANDOM_KILLS ?? 15);
const vault = "v";
const lanes = 4;

describe.skipIf(reason !== undefined)(`random deaths${reason ? ` (skipped: ${reason})` : ""}`, () => {
  test(
    `after ${kills} of them under load nothing promised is missing or wrong (seed ${testSeed})`,
    async () => {
      const random = randomNumbers(testSeed);
      const options = ["--settle", "0s", "--rewrite-interval", "0s", "--multipart-threshold", "16MiB", "--no-trash"];
      await using mount = await KilledMount.make(options);
      await mount.start();
      await mkdir(mount.place.path(vault));
      const writers: RandomWriter[] = [];
      for (let lane = 0; lane < lanes; lane++) {
        const root = mount.place.path(vault, `lane-${lane}`);
        await mkdir(root);
        writers.push(
          new RandomWriter(mount, new PromisedTree(root, () => mount.isDead), randomNumbers(testSeed + lane + 1)),
        );
      }
      const trees = writers.map(({ tree }) => tree);
      const answered = () => writers.reduce((sum, writer) => sum + writer.changes, 0);
      for (let kill = 1; kill <= kills; kill++) {
        const writing = Promise.all(writers.map((writer) => writer.write()));
        if (random() < 0.5) {
          const enough = answered() + random() * 60;
          await eventually(() => answered() > enough, "some changes were answered", 60_000);
          await mount.kill();
        } else {
          await mount.watch({ heading: "load", countdown: 1 + Math.floor(random() * 200) });
          await mount.dead();
        }
        await writing;
        await mount.start();
        await expectPromisesKept(mount, trees);
        if (kill % 50 === 0) console.log(`seed ${testSeed}: ${kill} deaths, ${answered()} changes that were answered`);
      }
      const done = writers.reduce((sum, writer) => sum + writer.changes, 0);
      console.log(`seed ${testSeed}: ${kills} deaths, ${done} changes that were answered`);
      expect(done).toBeGreaterThan(kills);
      await expectVaultHolds(mount, { vault, trees, lostInitiates: kills });
      for (const tree of trees) await tree.check();
    },
    60_000 + kills * 10_000,
  );
});

const names = ["a", "b", "c", "d", "dir/a", "dir/b", "dir/sub/a", "other/a", "other/b"];
const directories = ["dir", "dir/sub", "other"];

/** Changes a tree at random until the mount dies. */
class RandomWriter {
  changes = 0;
  readonly #mount: KilledMount;
  readonly tree: PromisedTree;
  readonly #random: () => number;

  constructor(mount: KilledMount, tree: PromisedTree, random: () => number) {
    this.#mount = mount;
    this.tree = tree;
    this.#random = random;
  }

  async write(): Promise<void> {
    await survived(async () => {
      for (;;) {
        if (await this.#step()) this.changes += 1;
      }
    });
  }

  /** @returns whether there was something to do. */
  async #step(): Promise<boolean> {
    const { tree } = this;
    const file = this.#one(tree.files);
    const free = this.#one(names.filter((name) => !tree.has(name) && tree.isDirectory(parentOf(name))));
    const anyName = this.#one(names.filter((name) => tree.isDirectory(parentOf(name))))!;
    const empty = this.#one(
      directories.filter((path) => tree.has(path) && !tree.paths.some((name) => parentOf(name) === path)),
    );
    const missing = this.#one(directories.filter((path) => !tree.has(path) && tree.isDirectory(parentOf(path))));
    const choices: readonly (readonly [number, false | (() => Promise<void>)])[] = [
      [30, () => tree.write(anyName, this.#bytes(), { fsync: this.#random() < 0.2 })],
      [5, free !== undefined && (() => tree.writeSyncWrite(free, this.#bytes(), this.#bytes()))],
      [15, file !== undefined && (() => tree.append(file, this.#bytes()))],
      [10, file !== undefined && (() => tree.patch(file, this.#upTo(tree.bytes(file).length + 100), this.#bytes()))],
      [8, file !== undefined && (() => tree.truncate(file, this.#upTo(tree.bytes(file).length * 2)))],
      [12, file !== undefined && (() => tree.rename(file, anyName))],
      [8, file !== undefined && (() => tree.unlink(file))],
      [3, file !== undefined && (() => tree.unlinkWhileOpen(file, this.#bytes()))],
      [5, file !== undefined && free !== undefined && (() => tree.link(file, free))],
      [6, missing !== undefined && (() => tree.mkdir(missing))],
      [3, empty !== undefined && (() => tree.rmdir(empty))],
      [6, file !== undefined && (() => tree.read(file))],
      [3, file !== undefined && (() => this.#evict(file))],
    ];
    const tickets = choices.flatMap(([weight, action]) => Array<typeof action>(weight).fill(action));
    const action = this.#one(tickets);
    if (!action) return false;
    await action();
    return true;
  }

  /** Whether or not it can be evicted now. */
  async #evict(path: string): Promise<void> {
    const inMount = relative(this.#mount.place.mountpoint, `${this.tree.root}/${path}`).split("/");
    await asking(this.#mount, (control) => control.evict({ paths: [inMount] }));
  }

  #one<T>(values: readonly T[]): T | undefined {
    return values[this.#upTo(values.length)];
  }

  #upTo(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  /** Of a few bytes mostly, sometimes of more than one write takes, seldom of several parts. */
  #bytes(): Buffer {
    const dice = this.#random();
    const length = dice < 0.8 ? 1 + this.#upTo(8000) : dice < 0.997 ? this.#upTo(300_000) : 16 * MIB + this.#upTo(1000);
    return Buffer.alloc(length, `${this.tree.root.at(-1)} ${this.changes} ${this.#upTo(1e9)};`);
  }
}

function parentOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
}
