/** Commands that talk to the service without a mount: their common options, and arguments that begin with a dash. */

import { Command, Option } from "commander";
import { serviceShape, transferShape } from "../config/config.js";
import type { SettingsShape } from "../config/setting.js";
import { addSettings } from "./settings-options.js";

/** Ids of the service have 64 or 128 characters of `A-Za-z0-9_-`, and one in 64 begins with a dash. No option is so long. */
const dashedIdPattern = /^-[A-Za-z0-9_-]{39,}$/;
/** Cannot be part of an argument: the system ends them there. */
const idMark = "\0";

/** A command whose arguments may be ids that look like options. */
export class ServiceCommand extends Command {
  override createCommand(name?: string): ServiceCommand {
    return new ServiceCommand(name);
  }

  override parseOptions(argv: string[]) {
    const end = argv.indexOf("--");
    const marked = argv.map((text, index) => {
      const isValue = this.options.some(
        (option) => option.required && [option.long, option.short].includes(argv[index - 1]),
      );
      return dashedIdPattern.test(text) && !isValue && (end < 0 || index < end) ? idMark + text : text;
    });
    const { operands, unknown } = super.parseOptions(marked);
    const unmarked = (texts: readonly string[]) => texts.map((text) => text.replace(idMark, ""));
    return { operands: unmarked(operands), unknown: unmarked(unknown) };
  }
}

/** A group of commands, such as `casfs vault`. */
export function serviceGroup(program: Command, name: string, description: string): ServiceCommand {
  const group = new ServiceCommand(name).copyInheritedSettings(program).description(description);
  program.addCommand(group);
  return group as ServiceCommand;
}

/** Settings by the names that casfs.toml has for them too. */
export function addTransferSettings(command: Command, ...keys: readonly (keyof typeof transferShape)[]): Command {
  const shape: SettingsShape = Object.fromEntries(keys.map((key) => [key, transferShape[key]]));
  return addSettings(command, shape, { withConfig: false });
}

/** Adds `--json` and where the service is; to be called after the command's own options. */
export function addServiceOptions(command: Command): Command {
  command.addOption(new Option("--json", "for programs: stable JSON"));
  command.optionsGroup("Where the service is, and whose key is used:");
  return addSettings(command, serviceShape);
}
