/** `casfs cost`: what storing, restoring and deleting costs, and what was asked of the service so far. */

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import type { ControlApi, MountPath } from "../../app/control-api.js";
import { isControlAnswering } from "../../app/control-client.js";
import { controlSocketPath } from "../../app/control-socket.js";
import type { CostReport } from "../../app/cost-tally.js";
import type { LedgerReport } from "../../app/ledger-report.js";
import { withOfflineState } from "../../app/offline-app.js";
import { systemClock } from "../../app/system-clock.js";
import { loadMountConfig, processSources } from "../../config/load-config.js";
import { printable } from "../../lib/printable.js";
import { dateArgument } from "../arguments.js";
import { allMounts, selectMounts, withControl } from "../casfs-mount.js";
import { costLines, ledgerLines } from "../cost-text.js";
import { CommandLineError, configured, failureText } from "../failure.js";
import { jsonOutput } from "../output.js";
import type { Terminal } from "../terminal.js";

interface CostFlags {
  readonly state?: string;
  readonly config?: string;
  readonly ledger?: boolean;
  readonly since?: Date;
  readonly json?: boolean;
}

export function addCostCommand(program: Command, terminal: Terminal): void {
  program
    .command("cost")
    .description("what storing, restoring or deleting files costs; without PATH, of all that is in the vaults")
    .argument("[PATH...]", "files and directories of a mount; with --state, below it: vault/directory/file")
    .option("--ledger", "what was asked of the service so far, by the month")
    .option("--since <DATE>", "with --ledger: from that day on (UTC)", dateArgument)
    .option("--state <DIR>", "of this state directory, mounted or not")
    .option("--config <FILE>", "settings as TOML (default: ~/.config/casfs/casfs.toml)")
    .option("--json", "for programs: an array with an object for each mount")
    .action((paths: string[], flags: CostFlags) => cost(paths, flags, terminal));
}

async function cost(paths: readonly string[], flags: CostFlags, terminal: Terminal): Promise<void> {
  if (flags.ledger && paths.length > 0) {
    throw new CommandLineError("Cannot tell the ledger of single files: it has what was asked for in all");
  }
  if (flags.since !== undefined && !flags.ledger) throw new CommandLineError("Cannot use --since without --ledger");
  const places = await placesOf(paths, flags);
  const answers: Answer[] = [];
  for (const place of places) answers.push(await answerOf(place, flags, { alone: places.length === 1 }));
  if (answers.some((answer) => "error" in answer.report)) terminal.exitCode = 1;
  if (flags.json) return terminal.print(jsonOutput(answers.map(({ place, report }) => ({ ...place, ...report }))));
  for (const [index, { place, lines }] of answers.entries()) {
    const title = printable(place.mountpoint ?? place.stateDirectory);
    if (places.length > 1) terminal.print(index === 0 ? title : `\n${title}`);
    for (const line of lines) terminal.print(printable(line));
  }
}

interface Answer {
  readonly place: Omit<CostPlace, "paths">;
  readonly report: CostReport | LedgerReport | { readonly error: string };
  readonly lines: readonly string[];
}

/** Of several mounts one that does not answer must not hide the others. */
async function answerOf(place: CostPlace, flags: CostFlags, { alone }: { readonly alone: boolean }): Promise<Answer> {
  try {
    return await reportOf(place, flags);
  } catch (error) {
    if (alone) throw error;
    const { message } = failureText(error);
    const { mountpoint, stateDirectory } = place;
    return { place: { mountpoint, stateDirectory }, report: { error: message }, lines: [`! ${message}`] };
  }
}

interface CostPlace {
  /** null: nothing is mounted. */
  readonly mountpoint: string | null;
  readonly stateDirectory: string;
  readonly paths: readonly MountPath[];
}

/** What is mounted is asked for; a state directory that was named may be mounted too. */
async function placesOf(paths: readonly string[], flags: CostFlags): Promise<CostPlace[]> {
  if (flags.state !== undefined) return [await placeOfState(resolve(flags.state), paths)];
  if (paths.length > 0)
    return (await selectMounts(paths)).map(({ mount, paths: named }) => ({ ...mount, paths: named }));
  const mounts = await allMounts();
  if (mounts.length > 0) return mounts.map((mount) => ({ ...mount, paths: [] }));
  const { stateDirectory } = await settingsOf(flags);
  return [{ mountpoint: null, stateDirectory, paths: [] }];
}

async function placeOfState(stateDirectory: string, paths: readonly string[]): Promise<CostPlace> {
  const isMounted = existsSync(stateDirectory) && (await isControlAnswering(controlSocketPath(stateDirectory)));
  const mounts = isMounted ? await allMounts() : [];
  const mountpoint = mounts.find((mount) => mount.stateDirectory === stateDirectory)?.mountpoint ?? null;
  const named = paths.map((path) => path.split("/").filter((name) => name !== "" && name !== "."));
  return { mountpoint, stateDirectory, paths: named };
}

async function reportOf({ paths, ...place }: CostPlace, flags: CostFlags): Promise<Answer> {
  const ask = async (api: Pick<ControlApi, "cost" | "ledger">): Promise<Answer> => {
    if (flags.ledger) {
      const ledger = await api.ledger({ since: flags.since?.toISOString() ?? null });
      return { place, report: ledger, lines: ledgerLines(ledger) };
    }
    const report = await api.cost({ paths });
    return { place, report, lines: costLines(report, systemClock.now()) };
  };
  const { mountpoint, stateDirectory } = place;
  if (mountpoint !== null) return withControl({ mountpoint, stateDirectory }, ask);
  const { prices } = await settingsOf(flags);
  return withOfflineState({ stateDirectory, prices }, (survey) =>
    ask({
      cost: (request) => survey.cost(request.paths),
      ledger: async ({ since }) => survey.ledger(since),
    }),
  );
}

function settingsOf({ config }: CostFlags) {
  return configured(loadMountConfig(processSources(config === undefined ? {} : { config })));
}
