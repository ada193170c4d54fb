/**
 * What mount(8) and fstab say, as a command line of `casfs mount`. Pure.
 *
 * Relies on: mount(8) calls `mount.casfs SOURCE MOUNTPOINT [-sfnv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]`.
 */

import { mountShape } from "../config/config.js";
import { optionsOf } from "../config/setting.js";
import { nearestWord } from "../config/suggestion.js";
import { CommandLineError } from "./failure.js";

export interface FstabMount {
  /** The words after `casfs`. */
  readonly argv: readonly string[];
  /** `-f`: check the words and mount nothing. */
  readonly isFake: boolean;
}

/** @param argv The words after `mount.casfs`. @throws CommandLineError for words that cannot be meant. */
export function parseFstabMount(argv: readonly string[]): FstabMount {
  const { places, switches, options } = readWords(argv);
  const [source, mountpoint, ...more] = places;
  if (source === undefined || mountpoint === undefined || more.length > 0) {
    throw new CommandLineError("Cannot mount: it needs a source and a mountpoint", {
      hint: "mount.casfs SOURCE MOUNTPOINT [-o OPTIONS]; in fstab: casfs /mnt/cold casfs _netdev,nofail 0 0",
    });
  }
  const settings = splitOptions(options.join(",")).flatMap((option) => mountFlag(option, switches.has("s")));
  return { argv: ["mount", mountpoint, "--daemon", ...sourceFlags(source), ...settings], isFake: switches.has("f") };
}

interface FstabWords {
  readonly places: readonly string[];
  readonly switches: ReadonlySet<string>;
  readonly options: readonly string[];
}

function readWords(argv: readonly string[]): FstabWords {
  const places: string[] = [];
  const switches = new Set<string>();
  const options: string[] = [];
  const words = argv[Symbol.iterator]();
  for (const word of words) {
    if (word === "-o" || word === "-t" || word === "-N") {
      const value = words.next().value;
      if (value === undefined) throw new CommandLineError(`Cannot mount: nothing follows ${word}`);
      if (word === "-N") throw new CommandLineError("Cannot mount in another mount namespace (-N)");
      if (word === "-o") options.push(value);
    } else if (/^-[sfnvwr]+$/.test(word)) {
      for (const letter of word.slice(1)) switches.add(letter);
      if (word.includes("r")) options.push("ro");
    } else if (word.startsWith("-")) {
      throw new CommandLineError(`Cannot understand ${word}`);
    } else {
      places.push(word);
    }
  }
  return { places, switches, options };
}

/** Commas separate options; one within a value is written `\,`. */
function splitOptions(text: string): string[] {
  const parts = text.match(/(?:\\.|[^,\\])+/g) ?? [];
  return parts.map((part) => part.replace(/\\(.)/g, "$1"));
}

function sourceFlags(source: string): string[] {
  if (/^https?:\/\//i.test(source)) return [`--endpoint=${source}`];
  if (source.startsWith("/")) return [`--local=${source}`];
  if (source.startsWith("casfs:/")) return [`--state=${source.slice("casfs:".length)}`];
  if (source === "casfs" || source === "none") return [];
  throw new CommandLineError(`Cannot mount ${source}`, {
    hint: "The source is a URL of a service, a directory for the service of this machine, casfs:/STATE/DIRECTORY, or just casfs",
  });
}

/** What mount(8) passes on and what is for others to read; the times of access that we keep are those of relatime. */
const meaningless =
  /^(rw|defaults|(no)?auto|(no)?users?|user=.*|owner|group|_netdev|nofail|comment=.*|[xX]-.*|nodev|nosuid|exec|a?sync|(no|rel|strict|lazy)?(dir)?a?time|(no)?(mand|iversion)|loud|silent|default_permissions|(fsname|subtype)=.*)$/;

const known = new Map(optionsOf(mountShape).map((option) => [option.name, option]));

function mountFlag(option: string, isSloppy: boolean): string[] {
  if (meaningless.test(option)) return [];
  if (option === "ro") return ["--read-only"];
  const [, written = "", value] = /^([^=]*)(?:=(.*))?$/s.exec(option) ?? [];
  const name = written.replaceAll("_", "-");
  if (name === "config" && value !== undefined) return [`--config=${value}`];
  if (name === "secret-key") {
    throw new CommandLineError("Cannot take the secret key from mount options, which everybody can read", {
      hint: "Put it into a file of mode 600 and give -o config=FILE",
    });
  }
  const setting = known.get(name) ?? known.get(name.replace(/^no-?/, ""));
  if (setting !== undefined && setting.argument === undefined) {
    if (value === undefined) return [`--${toggled(name)}`];
    if (setting.name === name && yes.has(value)) return [`--${name}`];
    if (setting.name === name && no.has(value)) return [`--no-${name}`];
    throw unusable(option, name, true);
  }
  if (setting !== undefined && setting.name === name && value !== undefined) return [`--${name}=${value}`];
  if (setting === undefined && isSloppy) return [];
  throw unusable(option, name, setting !== undefined);
}

const yes = new Set(["true", "1", "yes", "on"]);
const no = new Set(["false", "0", "no", "off"]);

/** `notrash` is `--no-trash`. */
function toggled(name: string): string {
  return known.has(name) ? name : name.replace(/^no-?/, "no-");
}

function unusable(option: string, name: string, isKnown: boolean): CommandLineError {
  const near = nearestWord(name, [...known.keys()]);
  const guess = near === undefined ? "`casfs mount --help` has all options" : `Did you mean ${near}?`;
  return new CommandLineError(`Cannot use the mount option ${option}`, {
    hint: isKnown ? `It is written ${name}=VALUE, or just ${name} for a switch` : guess,
  });
}
