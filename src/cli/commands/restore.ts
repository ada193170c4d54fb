/** `casfs restore`: says what a recall of cold files would cost, then orders it. */

import { randomUUID } from "node:crypto";
import { type Command, Option } from "commander";
import type { RestorePlan, RestoreRequest } from "../../app/control-api.js";
import { systemClock } from "../../app/system-clock.js";
import { FileSystemError } from "../../domain/errors.js";
import { formatSize } from "../../lib/amount-text.js";
import { expeditedSizeBytesMax } from "../../protocol/limits.js";
import { type RetrievalTier, retrievalTiers } from "../../protocol/service.js";
import { partArgument } from "../arguments.js";
import { failureLine, type MountSelection, selectMounts, withControl } from "../casfs-mount.js";
import { CommandLineError } from "../failure.js";
import { type PlannedMount, planLines, totalPrice } from "../restore-plan-text.js";
import { showRestoreProgress } from "../restore-progress.js";
import { PartOutput, requirePart } from "../restored-part.js";
import { stopSignals } from "../stop-signals.js";
import { counted, type Terminal } from "../terminal.js";

interface RestoreFlags {
  readonly recursive?: boolean;
  readonly tier?: RetrievalTier;
  readonly wait?: boolean;
  readonly yes?: boolean;
  readonly range?: ReturnType<typeof partArgument>;
  readonly output?: string;
}

export function addRestoreCommand(program: Command, terminal: Terminal): void {
  program
    .command("restore")
    .description("bring cold files back to this machine; says first what that costs")
    .argument("<PATH...>")
    .option("-r, --recursive", "with directories, and all files below them")
    .addOption(new Option("--tier <TIER>", "retrieval tier, else the mount's").choices(retrievalTiers))
    .option("--wait", "return when the files are here")
    .option("--range <FROM-TO>", "only this part of one file, such as 10MiB-20MiB, in whole MiBs", partArgument)
    .option("-o, --output <FILE>", "with --range: wait, and write these bytes to a new file")
    .option("--yes", "go on although it costs money")
    .action((paths: string[], flags: RestoreFlags) => restore(paths, flags, terminal));
}

async function restore(paths: readonly string[], flags: RestoreFlags, terminal: Terminal): Promise<void> {
  checkRange(paths, flags);
  const selections = await selectMounts(paths);
  const planned = await Promise.all(selections.map((selection) => planOf(selection, flags)));
  const plans = planned.map(({ plan }) => plan);
  refuseTooLarge(plans, flags);
  if (flags.range !== undefined) requirePart(plans[0]!, flags.output !== undefined);
  // From here on there may be a file that a signal must not leave behind.
  using stop = stopSignals({ what: "Waiting for the recalls", onRepeated: () => process.exit(130) });
  const output = flags.output === undefined ? undefined : await PartOutput.create(flags.output);
  try {
    await restorePlanned(planned, flags, { output, terminal, signal: stop.signal });
    // Nothing was ordered, or nothing came.
    if (terminal.exitCode !== 0) await output?.remove();
  } catch (error) {
    await output?.remove();
    throw error;
  }
}

/** @throws CommandLineError for options that do not go together. */
function checkRange(paths: readonly string[], { range, output, recursive }: RestoreFlags): void {
  if (range === undefined && output === undefined) return;
  if (range === undefined)
    throw new CommandLineError("Cannot use --output without --range: a whole file is read in the mount");
  if (paths.length !== 1 || recursive) throw new CommandLineError("Cannot use --range with more than one file");
}

interface Surroundings {
  readonly output: PartOutput | undefined;
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
}

async function restorePlanned(planned: readonly Planned[], flags: RestoreFlags, surroundings: Surroundings) {
  const { output, terminal, signal } = surroundings;
  const plans = planned.map(({ plan }) => plan);
  for (const line of planLines(plans)) terminal.print(line);
  const isHere = plans.every(({ files }) => files === 0);
  if (isHere && output === undefined) return;
  if (totalPrice(plans) > 0 && !(await agreed(flags, surroundings))) {
    terminal.exitCode = signal.aborted ? 130 : 3;
    return;
  }
  try {
    if (!isHere) await order(planned, { ...flags, wait: flags.wait || output !== undefined }, terminal, signal);
    if (output !== undefined && terminal.exitCode === 0) await writePart(planned[0]!, output, flags, surroundings);
  } catch (error) {
    if (!signal.aborted) throw error;
    const rest = isHere
      ? "nothing was written"
      : "the recalls go on. The same command joins them, and orders nothing twice";
    terminal.tell(`casfs: interrupted; ${rest}`);
    terminal.exitCode = 130;
  }
}

/** @throws FileSystemError "too-large": an open would take the next tier, a person who names one is told. */
function refuseTooLarge(plans: readonly RestorePlan[], { tier }: RestoreFlags): void {
  const tooLarge = plans.reduce((total, plan) => total + plan.tooLarge, 0);
  if (tier !== "expedited" || tooLarge === 0) return;
  const text = `${counted(tooLarge, "file")} of them ${tooLarge === 1 ? "is" : "are"} larger than ${formatSize(expeditedSizeBytesMax)}`;
  throw new FileSystemError("too-large", `Cannot restore at tier expedited: ${text}`, {
    hint: "Take --tier standard or --tier bulk",
  });
}

async function writePart(
  { mount, request }: Planned,
  output: PartOutput,
  flags: RestoreFlags,
  { terminal, signal }: Surroundings,
): Promise<void> {
  const bytes = await withControl(mount, (api) => output.fill(api, request.paths[0]!, flags.range!, signal));
  terminal.print(`${formatSize(bytes)} written to ${flags.output}`);
}

interface Planned extends MountSelection, PlannedMount {
  readonly request: RestoreRequest;
}

async function planOf(selection: MountSelection, flags: RestoreFlags): Promise<Planned> {
  const { recursive = false, tier, range } = flags;
  const chosen = { ...(tier === undefined ? {} : { tier }), ...(range === undefined ? {} : { range }) };
  const request = { paths: selection.paths, recursive, ...chosen };
  return { ...selection, request, plan: await withControl(selection.mount, (api) => api.planRestore(request)) };
}

async function agreed(
  { yes = false }: RestoreFlags,
  { terminal, signal }: Pick<Surroundings, "terminal" | "signal">,
): Promise<boolean> {
  if (yes) return true;
  if (terminal.isInteractive && (await terminal.confirm("Order this?", signal))) return true;
  terminal.tell("casfs: nothing was ordered, because it costs money");
  if (!terminal.isInteractive) terminal.tell("hint: Add --yes to agree to the price");
  return false;
}

async function order(
  planned: readonly Planned[],
  flags: RestoreFlags,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  const wait = flags.wait ?? false;
  const watched = planned.map((one) => ({ ...one, batch: randomUUID() }));
  using _progress = showRestoreProgress(terminal, watched, () => systemClock.now());
  const results = await Promise.all(
    watched.map(async ({ mount, request, batch }) => {
      const result = await withControl(mount, (api) => api.restore({ ...request, wait, batch }, signal));
      return { ...result, failed: result.failed.map((failure) => failureLine(mount, failure)) };
    }),
  );
  const sum = (count: (result: (typeof results)[number]) => number) =>
    results.reduce((total, result) => total + count(result), 0);
  const noun = flags.range === undefined ? "file" : "part";
  terminal.print(
    wait
      ? `${counted(
          sum(({ landed }) => landed),
          noun,
        )} restored`
      : `${counted(
          sum(({ started }) => started),
          "recall",
        )} started`,
  );
  const failed = results.flatMap((result) => result.failed);
  if (failed.length === 0) return;
  terminal.tell(`casfs: ${counted(failed.length, "file")} not restored`);
  for (const line of failed) terminal.tell(`  ${line}`);
  terminal.exitCode = 1;
}
