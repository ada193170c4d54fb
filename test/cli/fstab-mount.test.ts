/** What mount(8) says, as a command line of `casfs mount`. */

import { expect, test } from "vitest";
import { parseFstabMount } from "../../src/cli/fstab-mount.js";

const argvOf = (...words: readonly string[]) => parseFstabMount(words).argv;
const optionsOf = (options: string) => argvOf("casfs", "/mnt", "-o", options).slice(3);

test("mounts in the background, with the settings of casfs.toml", () => {
  expect(argvOf("casfs", "/mnt/cold")).toEqual(["mount", "/mnt/cold", "--daemon"]);
  expect(argvOf("none", "/mnt/cold", "-o", "rw")).toEqual(["mount", "/mnt/cold", "--daemon"]);
});

test.each([
  ["https://cas.example", "--endpoint=https://cas.example"],
  ["/srv/archives", "--local=/srv/archives"],
  ["casfs:/var/lib/casfs", "--state=/var/lib/casfs"],
])("the source %s says where the archives are", (source, flag) => {
  expect(argvOf(source, "/mnt")).toEqual(["mount", "/mnt", "--daemon", flag]);
});

test("any other source is refused", () => {
  expect(() => argvOf("backup", "/mnt")).toThrow("Cannot mount backup");
});

test.each([
  ["ro", ["--read-only"]],
  ["allow_other,on_cold=eagain", ["--allow-other", "--on-cold=eagain"]],
  ["settle=5s,cache-size=1GiB", ["--settle=5s", "--cache-size=1GiB"]],
  ["notrash", ["--no-trash"]],
  ["trash=off,read-only=true", ["--no-trash", "--read-only"]],
  ["no-trash,trash", ["--no-trash", "--trash"]],
  ["temporary=*.part\\,*.swp", ["--temporary=*.part,*.swp"]],
  ["config=/etc/casfs.toml", ["--config=/etc/casfs.toml"]],
  ["defaults,_netdev,nofail,noatime,x-systemd.automount,user=joe,nosuid,nodev,comment=a", []],
])("-o %s", (options, flags) => {
  expect(optionsOf(options)).toEqual(flags);
});

test.each(["settel=5s", "noexec", "settle", "trash=maybe", "nosettle", "dev", "suid"])("-o %s is refused", (option) => {
  expect(() => optionsOf(option)).toThrow(`Cannot use the mount option ${option}`);
});

test("-s passes over unknown options, but not over known ones that are wrong", () => {
  expect(argvOf("casfs", "/mnt", "-s", "-o", "settel=5s,ro").slice(3)).toEqual(["--read-only"]);
  expect(() => argvOf("casfs", "/mnt", "-s", "-o", "settle")).toThrow("settle");
});

test("a secret key is not taken from options, and the message does not repeat it", () => {
  expect(() => optionsOf("secret_key=hunter2")).toThrow(/^(?!.*hunter2).*secret key/);
});

test("-f mounts nothing, -r mounts read-only, -n and -v change nothing", () => {
  expect(parseFstabMount(["casfs", "/mnt", "-fnv"]).isFake).toBe(true);
  expect(argvOf("casfs", "/mnt", "-r").slice(3)).toEqual(["--read-only"]);
});

test.each([
  [["casfs"]],
  [["casfs", "/a", "/b"]],
  [["casfs", "/a", "-o"]],
  [["casfs", "/a", "-N", "1"]],
  [["casfs", "/a", "-x"]],
])("%j is no mount", (words) => {
  expect(() => parseFstabMount(words)).toThrow(/^Cannot/);
});
