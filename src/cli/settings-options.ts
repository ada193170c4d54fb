/** Makes command line options of the settings in `config/`, which know their names, types and defaults. */

import { type Command, Option } from "commander";
import { optionName, optionsOf, type SettingsShape } from "../config/setting.js";

/** What commander hands to an action: given options by key, switches as true or false. */
export type Flags = Readonly<Record<string, string | boolean | undefined>>;

/** Adds one option for each setting. Defaults are not commander's: an option that is not given leaves it to others. */
export function addSettings(
  command: Command,
  shape: SettingsShape,
  { withConfig = true }: { readonly withConfig?: boolean } = {},
): Command {
  for (const { name, argument, help, defaultText } of optionsOf(shape)) {
    if (argument === undefined) {
      // The other one is for a switch that casfs.toml or a variable has turned.
      const isOn = defaultText === "true";
      command.addOption(new Option(`--${name}`, help).hideHelp(isOn));
      command.addOption(new Option(`--no-${name}`, `do not ${help}`).hideHelp(!isOn));
    } else {
      const text = defaultText === undefined ? help : `${help} (default: ${defaultText})`;
      command.addOption(new Option(`--${name} <${argument}>`, text));
    }
  }
  if (!withConfig) return command;
  return command.addOption(new Option("--config <FILE>", "settings as TOML (default: ~/.config/casfs/casfs.toml)"));
}

/** The command line that gives `flags` again, without those whose keys are in `except`. */
export function flagArguments(flags: Flags, { except }: { readonly except: readonly string[] }): string[] {
  return Object.entries(flags).flatMap(([key, value]) => {
    if (value === undefined || except.includes(key)) return [];
    const name = optionName(key);
    if (typeof value === "boolean") return [value ? `--${name}` : `--no-${name}`];
    return [`--${name}=${value}`];
  });
}
