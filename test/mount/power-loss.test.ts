/**
 * The machine loses its power at every step of a real mount: what was not synced is gone.
 *
 * Each death is followed by a start on what POSIX promises to be there (support/power-loss.ts), in turn with nothing
 * else, with all of the catalog's log, and with all but that log: the system may write out what it likes, in any order.
 * CASFS_POWER_LOSSES=all has each step meet all three.
 */

import { mkdir } from "node:fs/promises";
import { relative } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { whyNoMount } from "../support/fuse-environment.js";
import { KilledMount } from "../support/killed-mount.js";
import type { Spared } from "../support/power-loss.js";
import { PromisedTree, survived } from "../support/promised-tree.js";
import { asking, settled } from "../support/survivors.js";
import { testBytes } from "../support/test-bytes.js";

const reason = whyNoMount();
const vault = "v";
const spared: readonly Spared[] = ["nothing", "the log", "all but the log"];
const rounds = process.env.CASFS_POWER_LOSSES === "all" ? spared.length : 1;
const attemptsMax = 200;

describe.skipIf(reason !== undefined)(`power loss${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: KilledMount;

  beforeAll(async () => {
    const options = ["--settle", "1h", "--rewrite-interval", "0s", "--no-trash"];
    mount = await KilledMount.make(options, { recordsSyncs: true });
    await mount.start();
    await mkdir(mount.place.path(vault));
  }, 60_000);

  afterAll(async () => {
    await mount?.[Symbol.asyncDispose]();
  }, 60_000);

  test("at every step of writing, fsync and uploading: what fsync promised is there, and nothing is wrong", async () => {
    for (let round = 0; round < rounds; round++) {
      const known: string[] = [];
      for (let attempt = 0; ; attempt++) {
        expect(attempt).toBeLessThan(attemptsMax);
        const files = new SyncedFiles(mount, `files-${round}-${attempt}`);
        await files.prepare();
        await mount.watch({ heading: "power", known });
        if (await files.write()) break;
        await mount.dead();
        known.push(mount.deaths.at(-1)!);
        mount.losePower(spared[(round + attempt) % spared.length]!);
        await mount.start();
        await files.expectPromisesKept();
      }
      await mount.watch(undefined);
      const barriers = [
        "sync a staged file",
        "sync the staging directory",
        "sync the log",
        "about to send uploadArchive",
      ];
      expect(known).toEqual(
        expect.arrayContaining([...barriers, "about to send deleteArchive"].map((step) => `power: ${step}`)),
      );
    }
  }, 600_000);
});

/** What may be found of one file: one of `texts`, or what is marked as doubtful. */
interface Allowance {
  readonly texts: readonly (Buffer | undefined)[];
  readonly mayBeDoubtful: boolean;
}

/** Four files of one directory, and what fsync has promised of them. */
class SyncedFiles {
  readonly #mount: KilledMount;
  readonly #tree: PromisedTree;
  readonly #allowed = new Map<string, Allowance>();

  constructor(mount: KilledMount, name: string) {
    this.#mount = mount;
    this.#tree = new PromisedTree(mount.place.path(vault, name), () => mount.isDead);
  }

  /** An archived file, and one that is only synced: its fsync makes the directories durable, too. */
  async prepare(): Promise<void> {
    await mkdir(this.#tree.root);
    await this.#synced("archived", testBytes(3000, 1));
    await settled(this.#mount);
    await this.#synced("anchor", testBytes(2000, 2));
  }

  /** @returns false when the mount died meanwhile. */
  async write(): Promise<boolean> {
    const plain = testBytes(4000, 3);
    const isThrough = await survived(async () => {
      await this.#synced("new", testBytes(5000, 4));
      await this.#synced("archived", testBytes(3500, 5));
      this.#allowed.set("plain", { texts: [undefined, Buffer.alloc(0), plain], mayBeDoubtful: true });
      await this.#tree.write("plain", plain);
      await settled(this.#mount);
    });
    return isThrough && !this.#mount.isDead;
  }

  async expectPromisesKept(): Promise<void> {
    const doubtful = await this.#discardDoubtful();
    const texts = await this.#texts();
    for (const [name, { texts: allowed, mayBeDoubtful }] of this.#allowed) {
      if (doubtful.has(name)) expect(mayBeDoubtful, `${name} is marked as doubtful`).toBe(true);
      else expect(allowed.map(String), `${name}: ${this.#mount.deaths.at(-1)}`).toContain(String(texts.get(name)));
    }
    await settled(this.#mount);
    // From the vault, too: nothing was deleted there for something that is not.
    await asking(this.#mount, (control) => control.evict({ paths: [this.#inMount] }));
    expect(await this.#texts()).toEqual(texts);
  }

  get #inMount(): string[] {
    return relative(this.#mount.place.mountpoint, this.#tree.root).split("/");
  }

  async #synced(name: string, bytes: Buffer): Promise<void> {
    const before = this.#allowed.get(name)?.texts ?? [undefined, Buffer.alloc(0)];
    this.#allowed.set(name, { texts: [...before, bytes], mayBeDoubtful: !this.#allowed.has(name) });
    await this.#tree.write(name, bytes, { fsync: true });
    this.#allowed.set(name, { texts: [bytes], mayBeDoubtful: false });
  }

  /** What a person would do with what casfs marks. @returns the names. */
  async #discardDoubtful(): Promise<Set<string>> {
    const { suspects } = await asking(this.#mount, (control) => control.status());
    const names = suspects.map(({ path }) => relative(this.#tree.root, this.#mount.place.path(path)));
    for (const name of names) await this.#tree.discard(name);
    return new Set(names);
  }

  async #texts(): Promise<Map<string, Buffer>> {
    return this.#tree.found();
  }
}
