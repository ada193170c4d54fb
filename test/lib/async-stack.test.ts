import { expect, test } from "vitest";
import { AsyncStack } from "../../src/lib/async-stack.js";

test("what was begun last ends first, each waiting for the one before", async () => {
  const ended: string[] = [];
  const end = (name: string) => async () => {
    await Promise.resolve();
    ended.push(name);
  };
  {
    await using stack = new AsyncStack();
    stack.defer(end("first"));
    stack.use({ [Symbol.asyncDispose]: end("second") });
    stack.defer(end("third"));
  }
  expect(ended).toEqual(["third", "second", "first"]);
});

test("an end that fails does not keep the others from ending; the first failure is thrown", async () => {
  const ended: string[] = [];
  const stack = new AsyncStack();
  stack.defer(async () => void ended.push("first"));
  stack.defer(() => Promise.reject(new Error("second")));
  stack.defer(() => Promise.reject(new Error("third")));
  await expect(stack[Symbol.asyncDispose]()).rejects.toThrow("third");
  expect(ended).toEqual(["first"]);
});
