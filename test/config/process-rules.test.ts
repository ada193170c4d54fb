import { expect, test } from "vitest";
import { mountShape } from "../../src/config/config.js";
import { parseProcessRules } from "../../src/config/process-rules.js";

const shipped = mountShape.recallDeny.parse(undefined);
const named = (...names: string[]) => ({ names, uid: 1000 });

test.each([
  "updatedb",
  "updatedb.plocat", // as the kernel cuts it
  "updatedb.mlocate",
  "tracker-miner-f",
  "tracker-miner-fs-3",
  "tracker-extract-3",
  "localsearch-3",
  "baloo_file",
  "baloo_file_extractor",
  "recollindex",
  "tumblerd",
  "ffmpegthumbnailer",
  "gdk-pixbuf-thumbnailer",
  "evince-thumbnai" + "ler",
  "thumbnail.so",
  "clamscan",
])("%s is denied as shipped", (name) => expect(shipped.match(named("x", name))).toBeDefined());

test.each(["cat", "rsync", "cp", "tar", "vim", "nautilus", "dolphin", "locate", "plocate", "python3", "tracker3"])(
  "%s is not",
  (name) => expect(shipped.match(named(name))).toBeUndefined(),
);

test("one's own rules replace the shipped ones, unless `default` is among them; users are rules too", () => {
  const rules = parseProcessRules("find*, uid:1001");
  expect(rules.match(named("findutil"))).toBe("find*");
  expect(rules.match({ names: [], uid: 1001 })).toBe("uid:1001");
  expect(rules.match(named("updatedb"))).toBeUndefined();
  expect(parseProcessRules("default,Plex Media Scan").match(named("Plex Media Scan"))).toBe("Plex Media Scan");
  expect(parseProcessRules("default,find*").match(named("updatedb"))).toBe("updatedb*");
});

test("`none` denies nobody, and then no name needs to be looked up", () => {
  for (const text of ["none", "", "uid:7"]) expect(parseProcessRules(text).hasNames).toBe(false);
  expect(parseProcessRules("none").match(named("updatedb"))).toBeUndefined();
});

test.each(["uid:me", "/usr/bin/updatedb", "uid:"])("%s is refused", (text) =>
  expect(() => parseProcessRules(text)).toThrow("a rule is the name of a program such as updatedb*"),
);
