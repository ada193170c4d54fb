/** What a failed command says, and with which exit code it ends. */

import { CommanderError } from "commander";
import { CasfsError, describeError, ServiceError, UsageError } from "../domain/errors.js";
import { printable } from "../lib/printable.js";
import type { ExitCode, Terminal } from "./terminal.js";

/** Arguments, options or a configuration that cannot be used: exit code 2. */
export class CommandLineError extends CasfsError {
  override readonly name = "CommandLineError";
  override readonly kind = "invalid";
}

/** Loads a configuration; what is wrong with it is wrong with the command line. */
export async function configured<T>(load: Promise<T>): Promise<T> {
  try {
    return await load;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const { message, hint } = failureText(error);
    // Without a cause: its text is in the message, and would be told once more.
    throw new CommandLineError(message, hint === undefined ? {} : { hint });
  }
}

/** Says why on standard error; commander has spoken for itself already. */
export function reportFailure(error: unknown, terminal: Terminal, { debug }: { readonly debug: boolean }): ExitCode {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const { message, hint } = failureText(error);
  terminal.tell(`casfs: ${message}`);
  if (hint !== undefined) terminal.tell(`hint: ${hint}`);
  const requestId = error instanceof ServiceError ? error.requestId : undefined;
  if (requestId !== undefined) terminal.tell(`request: ${printable(requestId)}`);
  if (debug && error instanceof Error) terminal.tell(error.stack ?? error.message);
  return error instanceof CommandLineError ? 2 : 1;
}

/** One sentence about `error`, and what to do when that is known. */
export function failureText(error: unknown): { readonly message: string; readonly hint: string | undefined } {
  return { message: printable(sentence(error)), hint: error instanceof CasfsError ? error.hint : undefined };
}

/** "Cannot read X" needs its cause; "Cannot read X: there is no such file" has told it in better words. */
function sentence(error: unknown): string {
  return error instanceof CasfsError && error.message.includes(": ") ? error.message : describeError(error);
}
