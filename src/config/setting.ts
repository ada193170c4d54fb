/**
 * The building blocks of the option tables in `config.ts`: one zod type per kind of value.
 *
 * A value arrives as text (a flag, a variable, `-o name=value`) or as a TOML value; both are read the same way. Each
 * setting carries the words that `--help` prints.
 */

import { z } from "zod";
import { nearestWord } from "./suggestion.js";
import { parseDuration, parseSize } from "./units.js";

/** What a command line shows of an option. `argument` is undefined for a switch. */
export interface OptionHelp {
  /** As in the configuration object, for example `onCold`. */
  readonly key: string;
  /** As on the command line and in `casfs.toml`, for example `on-cold`. */
  readonly name: string;
  readonly argument: string | undefined;
  readonly help: string;
  /** As a user would write it; undefined when the option has none. */
  readonly defaultText: string | undefined;
}

/** The settings of one command: names and types, in the order of `--help`. */
export type SettingsShape = Readonly<Record<string, z.ZodType>>;

/** A value that `parse` understands; what it throws becomes the message to the user. */
function setting<T>(argument: string | undefined, help: string, parse: (text: string) => T) {
  return z
    .unknown()
    .transform((value, context): T => {
      try {
        return parse(textOf(value));
      } catch (error) {
        context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
        return z.NEVER;
      }
    })
    .meta({ argument, help });
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint") return String(value);
  throw new RangeError("it must be a text, a number or true/false");
}

export const text = (argument: string, help: string) =>
  setting(argument, help, (value) => {
    if (value === "") throw new RangeError("it must not be empty");
    if (value.includes("\0")) throw new RangeError("it must not contain a NUL character");
    return value;
  });

export const duration = (help: string) => setting("DURATION", help, parseDuration);

export const size = (help: string) => setting("SIZE", help, parseSize);

/** A switch; `-o name` without a value arrives as the empty text and means yes. */
export const toggle = (help: string) =>
  setting(undefined, help, (value) => {
    if (["", "true", "1", "yes", "on"].includes(value.toLowerCase())) return true;
    if (["false", "0", "no", "off"].includes(value.toLowerCase())) return false;
    throw new RangeError("it must be true or false");
  });

export const choice = <const C extends readonly string[]>(choices: C, help: string) =>
  setting(choices.join("|"), help, (value): C[number] => {
    if (choices.includes(value)) return value;
    const near = nearestWord(value, choices);
    throw new RangeError(
      `it must be one of ${choices.join(", ")}${near === undefined ? "" : `; did you mean ${near}?`}`,
    );
  });

/** A whole number, inclusive of both ends. */
export const whole = (argument: string, { from, to }: { readonly from: number; readonly to: number }, help: string) =>
  setting(argument, help, (value) => {
    const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= from && number <= to)) throw new RangeError(`it must be a whole number from ${from} to ${to}`);
    return number;
  });

/** Permission bits in octal, as umask(1) takes them. */
export const octal = (help: string) =>
  setting("OCTAL", help, (value) => {
    if (!/^0*[0-7]{1,3}$/.test(value)) throw new RangeError("it must be permission bits in octal, such as 022");
    return Number.parseInt(value, 8);
  });

/** A value of a form of its own; `parse` throws RangeError with what is expected. */
export const custom = setting;

/** The settings of `shape` with the words that describe them, for `--help` and for checking names. */
export function optionsOf(shape: SettingsShape): OptionHelp[] {
  return Object.entries(shape).map(([key, type]) => {
    const inner = type instanceof z.ZodPrefault || type instanceof z.ZodOptional ? (type.unwrap() as z.ZodType) : type;
    const { argument, help } = inner.meta() as { readonly argument?: string; readonly help: string };
    const defaultText = type instanceof z.ZodPrefault ? String(type.def.defaultValue) : undefined;
    return { key, name: optionName(key), argument, help, defaultText };
  });
}

/** `onCold` -> `on-cold`. */
export function optionName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `onCold` -> `CASFS_ON_COLD`. */
export function variableName(key: string): string {
  return `CASFS_${optionName(key).replaceAll("-", "_").toUpperCase()}`;
}
