// Node as it runs the tests, and Deno and Bun where they are on the machine (DENO=, BUN= and NODE22= name their programs).
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { startNode } from "./nodes.mjs";

const root = new URL("..", import.meta.url).pathname;
/** Away from package.json, whose development dependencies Deno would fetch. */
const elsewhere = mkdtempSync(join(tmpdir(), "tidegate-runtime-"));
after(() => rmSync(elsewhere, { recursive: true }));
for (const file of ["test/runtime.mjs", "dist/index.js"]) cpSync(join(root, file), join(elsewhere, file));

const RUNTIMES = [
  // Before version 22 it needs `ws`, from here.
  [process.execPath, [], root],
  [process.env.NODE22 ?? "node22", []],
  [process.env.DENO ?? "deno", ["run", "--allow-net"]],
  [process.env.BUN ?? "bun", ["run"]],
];

for (const [runtime, options, directory = elsewhere] of RUNTIMES) {
  const version = spawnSync(runtime, ["--version"], { encoding: "utf8" }).stdout?.split("\n")[0];
  test(`the client runs in ${version ?? runtime}`, { skip: version ? false : `${runtime} is not on this machine` }, async () => {
    const node = await startNode();
    const output = execFileSync(runtime, [...options, join(directory, "test/runtime.mjs"), node.url], { encoding: "utf8", timeout: 20_000 });
    assert.equal(output.trim(), "ok");
  });
}
