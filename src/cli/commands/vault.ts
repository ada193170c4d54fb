/** `casfs vault`: the vaults of an account, and what governs them. Grammar only; the work is loaded when it is asked for. */

import { type Command, Option } from "commander";
import { notificationEvents } from "../../protocol/vault-wire.js";
import { pageLimitArgument, urlArgument, vaultArgument } from "../arguments.js";
import { addServiceOptions, type ServiceCommand, serviceGroup } from "../service-command.js";
import type { Terminal } from "../terminal.js";

const vaults = () => import("../vault/vaults.js");
const policies = () => import("../vault/policies.js");

export function addVaultCommands(program: Command, terminal: Terminal): void {
  const group = serviceGroup(program, "vault", "list, create, describe and remove vaults, and what governs them");
  addList(group, terminal);
  addServiceOptions(inVault(group, "create", "create a vault; one that exists is fine")).action(async (vault, flags) =>
    (await vaults()).create(vault, flags, terminal),
  );
  addServiceOptions(inVault(group, "describe", "what the service says about a vault")).action(async (vault, flags) =>
    (await vaults()).describe(vault, flags, terminal),
  );
  addServiceOptions(inVault(group, "rm", "remove a vault without archives")).action(async (vault, flags) =>
    (await vaults()).remove(vault, flags, terminal),
  );
  addTakeOver(group, terminal);
  addPolicy(group, terminal);
  addNotifications(group, terminal);
  addLock(group, terminal);
}

function addList(group: ServiceCommand, terminal: Terminal): void {
  const list = group
    .command("ls")
    .description("list the vaults; counts and sizes are those of their last inventory")
    .option("--limit <N>", "at most so many, and a marker for the others (default: all)", pageLimitArgument)
    .option("--marker <NAME>", "go on where a list with --limit ended")
    .option("--bytes", "sizes in bytes");
  addServiceOptions(list).action(async (flags) => (await vaults()).list(flags, terminal));
}

function addTakeOver(group: ServiceCommand, terminal: Terminal): void {
  group
    .command("take-over")
    .description("write from here to a vault that is read-only because another state directory wrote to it")
    .argument("<VAULT>", "directory of the vault; its name is enough when there is one mount")
    .option("--mount <MOUNTPOINT>", "the mount in which VAULT is the name of a vault")
    .option("--state <DIR>", "the state directory to change, when nothing is mounted")
    .action(async (vault, flags) => (await import("../vault/take-over.js")).takeOver(vault, flags, terminal));
}

function addPolicy(group: ServiceCommand, terminal: Terminal): void {
  const policy = group.command("policy").description("who else may use a vault, as a JSON document");
  addServiceOptions(inVault(policy, "get", "print the policy")).action(async (vault, flags) =>
    (await policies()).getPolicy(vault, flags, terminal),
  );
  const set = inVault(policy, "set", "replace the policy").argument("<FILE>", "the document; - is standard input");
  addServiceOptions(set).action(async (vault, file, flags) =>
    (await policies()).setPolicy(vault, file, flags, terminal),
  );
  addServiceOptions(inVault(policy, "rm", "remove the policy")).action(async (vault, flags) =>
    (await policies()).removePolicy(vault, flags, terminal),
  );
}

function addNotifications(group: ServiceCommand, terminal: Terminal): void {
  const notify = group.command("notify").description("where the service reports the end of jobs");
  addServiceOptions(inVault(notify, "get", "print where")).action(async (vault, flags) =>
    (await policies()).getNotification(vault, flags, terminal),
  );
  const events = new Option("--event <EVENT...>", "kinds of jobs (default: all)").choices(notificationEvents);
  const set = inVault(notify, "set", "report it to URL")
    .argument("<URL>", "http:// or https://", urlArgument)
    .addOption(events);
  addServiceOptions(set).action(async (vault, url, flags) =>
    (await policies()).setNotification(vault, url, flags, terminal),
  );
  addServiceOptions(inVault(notify, "rm", "report nothing any more")).action(async (vault, flags) =>
    (await policies()).removeNotification(vault, flags, terminal),
  );
}

function addLock(group: ServiceCommand, terminal: Terminal): void {
  const lock = group.command("lock").description("make a rule against deleting archives permanent, in two steps");
  addServiceOptions(inVault(lock, "get", "print the lock")).action(async (vault, flags) =>
    (await policies()).getLock(vault, flags, terminal),
  );
  const start = inVault(lock, "start", "try a lock policy for 24 hours; prints the lock id").argument(
    "<FILE>",
    "the document; - is standard input",
  );
  addServiceOptions(start).action(async (vault, file, flags) =>
    (await policies()).startLock(vault, file, flags, terminal),
  );
  const complete = inVault(lock, "complete", "make it permanent; it can never be removed again")
    .argument("<LOCK_ID>", "as `start` has printed it")
    .option("--yes", "go on although it can never be undone");
  addServiceOptions(complete).action(async (vault, id, flags) =>
    (await policies()).completeLock(vault, id, flags, terminal),
  );
  addServiceOptions(inVault(lock, "abort", "give up a lock that is not complete")).action(async (vault, flags) =>
    (await policies()).abortLock(vault, flags, terminal),
  );
}

function inVault(group: Command, name: string, description: string): Command {
  return group.command(name).description(description).argument("<VAULT>", "its name", vaultArgument);
}
