import { Command } from "commander";
import { expect, test } from "vitest";
import { addSettings, type Flags, flagArguments } from "../../src/cli/settings-options.js";
import { mountShape } from "../../src/config/config.js";

function flagsOf(...commandLine: string[]): Flags {
  const command = addSettings(new Command(), mountShape);
  return command.parse(commandLine, { from: "user" }).opts();
}

test("an option that is not given is not in the flags, so that a file or a variable can give it", () => {
  expect(flagsOf()).toEqual({});
});

test("options arrive under the keys of the configuration, switches as true or false", () => {
  const flags = flagsOf("--on-cold", "deny", "--max-wait=5m", "--read-only", "--no-allow-other", "--config", "a.toml");
  expect(flags).toEqual({ onCold: "deny", maxWait: "5m", readOnly: true, allowOther: false, config: "a.toml" });
});

test("flags written as arguments are the same flags when read again", () => {
  const flags = flagsOf("--local", "-odd name", "--part-size", "1MiB", "--nonblock-recall", "--no-daemon");
  expect(flagsOf(...flagArguments(flags, { except: [] }))).toEqual(flags);
});

test("excepted keys are left out, as a secret key must be", () => {
  const flags = flagsOf("--secret-key", "hush", "--daemon", "--umask", "077");
  expect(flagArguments(flags, { except: ["secretKey", "daemon"] })).toEqual(["--umask=077"]);
});

test("of a switch the help shows what changes it", () => {
  const help = addSettings(new Command(), mountShape).helpInformation();
  expect(help).toContain("--no-trash");
  expect(help).not.toMatch(/ --trash\b/);
  expect(help).toContain("--read-only");
  expect(help).not.toContain("--no-read-only");
});
