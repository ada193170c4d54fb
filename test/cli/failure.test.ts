import { expect, test } from "vitest";
import { configured, failureText } from "../../src/cli/failure.js";
import { UsageError } from "../../src/domain/errors.js";

test("what is wrong with the configuration is told once", async () => {
  const wrong = new UsageError("Cannot use both --endpoint and --local", { hint: "Give the one" });
  const error = await configured(Promise.reject(wrong)).catch((reason: unknown) => reason);
  expect(failureText(error)).toEqual({ message: "Cannot use both --endpoint and --local", hint: "Give the one" });
});

test("what is wrong with the configuration is told with its cause", async () => {
  const wrong = new UsageError("Cannot read casfs.toml", { cause: new Error("permission denied") });
  const error = await configured(Promise.reject(wrong)).catch((reason: unknown) => reason);
  expect(failureText(error).message).toBe("Cannot read casfs.toml: permission denied");
});
