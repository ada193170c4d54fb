import { Command } from "commander";
import { expect, test } from "vitest";
import { ServiceCommand } from "../../src/cli/service-command.js";

const id = `-h${"x_-".repeat(20)}`;

function parsed(...argv: string[]) {
  const program = new Command("casfs").exitOverride();
  const group = new ServiceCommand("archive").copyInheritedSettings(program) as ServiceCommand;
  program.addCommand(group);
  let seen: { readonly ids: string[]; readonly flags: Record<string, unknown> } | undefined;
  group
    .command("rm")
    .argument("<VAULT>")
    .argument("<ID...>")
    .option("--description <TEXT>")
    .option("-f, --force")
    .configureOutput({ writeErr: () => undefined })
    .action((_vault: string, ids: string[], flags: Record<string, unknown>) => {
      seen = { ids, flags };
    });
  program.parse(["archive", "rm", "vault", ...argv], { from: "user" });
  return seen;
}

test("ids that begin with a dash are arguments, wherever they stand, and options stay options", () => {
  expect(parsed(id)).toEqual({ ids: [id], flags: {} });
  expect(parsed("-f", id, "--description", "words", `-${id}`)).toEqual({
    ids: [id, `-${id}`],
    flags: { force: true, description: "words" },
  });
});

test("as the value of an option, and behind --, an id is what it is", () => {
  expect(parsed("plain", "--description", id)).toEqual({ ids: ["plain"], flags: { description: id } });
  expect(parsed("--", id, "-f")).toEqual({ ids: [id, "-f"], flags: {} });
});

test("a mistyped option is no id", () => {
  expect(() => parsed("plain", "--descriptoin")).toThrow("unknown option");
});
