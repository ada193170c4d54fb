/**
 * The rules of the source tree, and one of the tests, that a compiler does not check.
 *
 * Reads the text of every module; relies on the formatter for how an import looks.
 */

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const sourceRoot = join(dirname(fileURLToPath(import.meta.url)), "..", "src");

/** A module imports from its own folder and from folders with a smaller number; equal numbers do not know each other. */
const rings: Readonly<Record<string, number>> = {
  lib: 0,
  domain: 1,
  protocol: 2,
  upload: 3,
  restore: 3,
  transfer: 4,
  vfs: 4,
  client: 5,
  catalog: 5,
  cache: 5,
  fuse: 5,
  server: 5,
  observability: 5,
  config: 5,
  sdk: 6,
  app: 6,
  cli: 7,
};

/** The only folders that may look around them: time, chance and the environment arrive elsewhere as arguments. */
const ambientFolders = ["sdk", "app", "config", "cli"];

/** What `import … from "casfs"` gives. */
const packageDoor = "sdk/index.ts";

/** Packages whose use is the business of some folders only. */
const packageHomes: Readonly<Record<string, readonly string[]>> = {
  "better-sqlite3": ["catalog", "server"],
  aws4fetch: ["server"],
  commander: ["cli"],
  "lru-cache": ["cache", "server"],
  picomatch: ["config"],
  pino: ["observability"],
  "smol-toml": ["config"],
  // The service calls others too: it tells of finished jobs and copies from and to an object store.
  undici: ["client", "server"],
};

interface SourceModule {
  /** From `src`, for example `vfs/filesystem.ts`. */
  readonly path: string;
  readonly folder: string;
  /** Without comments. */
  readonly code: string;
  readonly imports: readonly { readonly specifier: string; readonly typeOnly: boolean }[];
}

const modules = readdirSync(sourceRoot, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .map(readModule);

describe("the rings", () => {
  test("every folder of src has a ring", () => {
    const unknown = modules.filter(({ folder }) => !(folder in rings)).map(({ path }) => path);
    expectNone(unknown, "A module stands in a folder without a ring; add the folder to `rings` on purpose");
  });

  test("a module imports only from its own folder and from folders of smaller rings", () => {
    const breaches = modules.flatMap((module) =>
      importedPaths(module)
        .filter(({ path }) => !mayImport(module.folder, folderOf(path)))
        .map(({ path }) => `${module.path} (${ringName(module.folder)}) imports ${path} (${ringName(folderOf(path))})`),
    );
    expectNone(breaches, "Let the needed part arrive as an argument (a port), or move it to a smaller ring");
  });

  test("no module imports another that imports it back", () => {
    expectNone(importCycles(), "Move what both need to a third module");
  });
});

describe("the habits", () => {
  test("modules are imported by name: no index.ts collects others, except the door of the package", () => {
    const barrels = modules
      .map(({ path }) => path)
      .filter((path) => /(^|\/)index\.ts$/.test(path) && path !== packageDoor);
    expectNone(barrels, "Import the module itself");
  });

  test("relative imports name a module of src with its ending .js", () => {
    const known = new Set(modules.map(({ path }) => path));
    const wrong = modules.flatMap((module) =>
      importedPaths(module)
        .filter(({ path }) => !known.has(path))
        .map(({ specifier }) => `${module.path} imports ${specifier}`),
    );
    expectNone(wrong, "The module is missing, outside src, or its name lacks .js");
  });

  test("time, chance and the environment are read only where the parts are put together", () => {
    const ambient = /\bprocess\.env\b|["'](?:node:)?process["']|\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b/;
    const breaches = linesThat(ambient, ({ folder }) => !ambientFolders.includes(folder));
    expectNone(breaches, `Take a Clock or a value as an argument; only ${ambientFolders.join(", ")} may do this`);
  });

  test("errno is known to the drivers only, its numbers to fuse/errno.ts only", () => {
    const names = /\bconstants\.errno\b|\{\s*errno\s*\}\s*=\s*constants/;
    const numbers = /\berrno\s*:\s*-?\d|\bE(?!OF\b)[A-Z]{3,}\b["']?\s*[:=]\s*-?\d/;
    const breaches = [
      ...linesThat(names, ({ folder }) => folder !== "fuse"),
      ...linesThat(numbers, ({ path }) => path !== "fuse/errno.ts"),
    ];
    expectNone(breaches, "Throw an error kind of domain/errors.ts; fuse/errno.ts translates it");
  });

  test("a package that belongs to one concern is imported only there", () => {
    const breaches = modules.flatMap((module) =>
      module.imports
        .filter(({ specifier }) => !(packageHomes[packageOf(specifier)] ?? [module.folder]).includes(module.folder))
        .map(
          ({ specifier }) =>
            `${module.path} imports ${specifier}, which belongs to ${packageHomes[packageOf(specifier)]}`,
        ),
    );
    expectNone(breaches, "Ask for what the package does through a port");
  });
});

function readModule(path: string): SourceModule {
  const name = path.replaceAll("\\", "/");
  const code = withoutComments(readFileSync(join(sourceRoot, path), "utf8"));
  return { path: name, folder: folderOf(name), code, imports: findImports(code) };
}

/** Strings are matched too, and kept: they may contain what looks like a comment. */
function withoutComments(text: string): string {
  const stringsAndComments = /("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g;
  return text.replace(
    stringsAndComments,
    (match, string: string | undefined) => string ?? match.replace(/[^\n]/g, " "),
  );
}

function findImports(code: string): SourceModule["imports"] {
  const statement = /^\s*(?:import|export)\s+(type\s+)?(?:[^"';]*?\bfrom\s+)?"([^"]+)"/gm;
  const call = /\bimport\(\s*"([^"]+)"\s*\)/g;
  return [
    ...[...code.matchAll(statement)].map(([, type, specifier]) => ({
      specifier: specifier!,
      typeOnly: type !== undefined,
    })),
    ...[...code.matchAll(call)].map(([, specifier]) => ({ specifier: specifier!, typeOnly: false })),
  ];
}

function importedPaths(module: SourceModule) {
  return module.imports
    .filter(({ specifier }) => specifier.startsWith("."))
    .map(({ specifier, typeOnly }) => ({
      specifier,
      typeOnly,
      path: posix.join(posix.dirname(module.path), specifier).replace(/\.js$/, ".ts"),
    }));
}

function mayImport(from: string, to: string): boolean {
  return from === to || (rings[to] ?? Number.POSITIVE_INFINITY) < (rings[from] ?? Number.NEGATIVE_INFINITY);
}

function folderOf(path: string): string {
  return path.split("/")[0]!;
}

const ringName = (folder: string) => `ring ${rings[folder] ?? "?"}`;
const packageOf = (specifier: string) =>
  specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");

/** Cycles of imports that exist at run time; types alone may refer to each other. */
function importCycles(): string[] {
  const edges = new Map(
    modules.map((module) => [module.path, importedPaths(module).filter(({ typeOnly }) => !typeOnly)]),
  );
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]) => {
    if (trail.includes(path)) cycles.push([...trail.slice(trail.indexOf(path)), path].join(" -> "));
    if (trail.includes(path) || done.has(path)) return;
    for (const next of edges.get(path) ?? []) visit(next.path, [...trail, path]);
    done.add(path);
  };
  for (const path of edges.keys()) visit(path, []);
  return cycles;
}

function linesThat(pattern: RegExp, where: (module: SourceModule) => boolean): string[] {
  return modules
    .filter(where)
    .flatMap(({ path, code }) =>
      code
        .split("\n")
        .flatMap((line, index) => (pattern.test(line) ? [`${join("src", path)}:${index + 1}: ${line.trim()}`] : [])),
    );
}

describe("the tests", () => {
  const testRoot = join(sourceRoot, "..", "test");
  const paths = readdirSync(testRoot, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".ts"));

  test("run what they have always run: their random numbers come from one seed", () => {
    const homes = ["support/test-seed.ts", "support/seeded-fast-check.ts"];
    const otherwise = /\bMath\.random\(|\brandomInt\b|from "fast-check"|\bDate\.now\(\) %/;
    const breaches = paths
      .filter((path) => !homes.includes(path) && path !== "architecture.test.ts")
      .filter((path) => otherwise.test(readFileSync(join(testRoot, path), "utf8")));
    expectNone(breaches, `Use ${homes.join(" or ")}`);
  });
});

function expectNone(breaches: readonly string[], advice: string): void {
  expect(
    breaches,
    `${advice}:\n  ${breaches.join("\n  ")}\n(in ${relative(process.cwd(), sourceRoot) || sourceRoot})`,
  ).toEqual([]);
}
