/** Command lines that reach no mount: what they say and how they end. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { casfsHere } from "../support/casfs-here.js";
import { casfs } from "../support/casfs-process.js";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "casfs-cli-"));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

describe("a command line that cannot be understood exits 2 and starts nothing", () => {
  test.each([
    [["foo"], "casfs: Unknown command 'foo'"],
    [["mount"], "casfs: Missing required argument 'MOUNTPOINT'"],
    [["mount", "/tmp", "--sate", "/tmp"], "casfs: Unknown option '--sate'\nhint: Did you mean --state?"],
    [["mount", "/tmp", "--on-cold", "maybe"], 'casfs: Cannot use "maybe" for --on-cold: it must be one of'],
    [["mount", "/tmp", "--config", "/nowhere/casfs.toml"], "casfs: Cannot read /nowhere/casfs.toml: ENOENT"],
    [
      ["mount", "/tmp", "--endpoint", "http://127.0.0.1:1"],
      "casfs: Cannot use http://127.0.0.1:1 without an access key",
    ],
    [["serve", "--listen", "here"], 'casfs: Cannot use "here" for --listen'],
    [["restore", "--tier", "fast", "/tmp"], "casfs: Option '--tier <TIER>' argument 'fast' is invalid"],
    [["wait"], "casfs: Missing required argument 'PATH'"],
  ])("%j", async (commandArguments, words) => {
    const { status, stdout, stderr } = await casfsHere(commandArguments);
    expect(stderr).toContain(words);
    expect(stdout).toBe("");
    expect(status).toBe(2);
  });

  test("without a command, the help is shown as a complaint", async () => {
    const { status, stdout, stderr } = await casfs();
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain("Usage: casfs");
  });

  test("the wrong value of a secret is not repeated", async () => {
    const config = join(directory, "casfs.toml");
    await writeFile(config, "secret-key = [1234567]\n", { mode: 0o600 });
    const { status, stderr } = await casfsHere(["mount", directory, "--config", config]);
    expect(status).toBe(2);
    expect(stderr).not.toContain("1234567");
  });
});

describe("help", () => {
  test("asked for, it goes to standard output and is no failure", async () => {
    const { status, stdout } = await casfsHere(["mount", "--help"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/--on-cold <block\|eagain\|deny>\s+what opening a cold file does \(default: block\)/);
    expect(stdout).not.toContain("--no-read-only");
  });

  test("the version is that of the package", async () => {
    expect((await casfs("--version")).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("a command that fails exits 1 with one sentence", () => {
  test.each(["wait", "evict", "pin", "unpin", "restore", "unmount", "status"])(
    "%s of a path that is on no casfs mount",
    async (command) => {
      const { status, stdout, stderr } = await casfsHere([command, directory]);
      expect(stderr).toBe(
        `casfs: Cannot use ${directory}: it is not on a casfs mount\nhint: \`casfs status\` lists the mounts\n`,
      );
      expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    },
  );

  test("a path that does not exist", async () => {
    const { status, stderr } = await casfsHere(["wait", join(directory, "no", "file")]);
    expect(stderr).toBe(`casfs: Cannot find ${directory}/no/file: there is no ${directory}/no\n`);
    expect(status).toBe(1);
  });

  test("names with control characters cannot command the terminal", async () => {
    const { stderr } = await casfsHere(["wait", join(directory, "\u001b[2J\n")]);
    expect(stderr).toContain("\\x1b[2J\\x0a");
    expect(stderr).not.toContain("\u001b");
  });

  test("mounting on a directory that is not there, also in the background", async () => {
    const place = ["--local", join(directory, "data"), "--state", join(directory, "state")];
    for (const daemon of [[], ["--daemon"]]) {
      const { status, stdout, stderr } = await casfs("mount", join(directory, "none"), ...place, ...daemon);
      expect(stderr).toContain(`casfs: Cannot mount on ${directory}/none: there is no such directory\nhint: `);
      expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    }
  });
});
