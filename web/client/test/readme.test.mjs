// The README's code: each block compiles under the package's types, and the JavaScript runs against a node.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { startNode, until } from "./nodes.mjs";

const root = new URL("..", import.meta.url).pathname;
const readme = readFileSync(join(root, "README.md"), "utf8");
const blocks = (language) => [...readme.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, "gms"))].map(([, code]) => code);
/** Inside the package, so that `import "tidegate"` finds it. */
const directory = join(root, "test/.readme");
after(() => rmSync(directory, { recursive: true, force: true }));

test("the README's code has the right types", () => {
  mkdirSync(directory, { recursive: true });
  const imports = `import { connect, type Publication } from "tidegate";\n`;
  const declared = `declare const client: import("tidegate").Client;\n`;
  const files = [...blocks("js"), ...blocks("ts"), ...blocks("jsx")].map((code, at) => {
    const file = join(directory, `${at}.tsx`);
    const preface = (/import \{/.test(code) ? "" : imports) + (code.includes("const client =") ? "" : declared);
    writeFileSync(file, `${preface}${code}\nexport {};\n`);
    return file;
  });
  assert.ok(files.length > 2);
  writeFileSync(join(directory, "tsconfig.json"), JSON.stringify({
    extends: "../../tsconfig.json",
    compilerOptions: { noUnusedLocals: false, paths: { tidegate: ["../../src/index.ts"], "tidegate/*": ["../../src/*.ts", "../../src/*.tsx"] } },
    include: ["*.tsx"],
  }));
  execFileSync("npx", ["tsc", "-p", directory], { cwd: root, stdio: "inherit" });
});

test("the README's JavaScript runs, and the published text arrives", async () => {
  const node = await startNode();
  const program = blocks("js")
    // tidegate/shared needs a browser: shared.test.mjs.
    .filter((code) => !code.includes("tidegate/"))
    .join("\n")
    .replaceAll("wss://example.com/ws", node.url)
    // What an application has of its own.
    .replace("(await fetch(\"/token\")).text()", "null")
    .replace("from \"tidegate\"", "from \"../connect.mjs\"");
  mkdirSync(directory, { recursive: true });
  const file = join(directory, "program.mjs");
  writeFileSync(file, program);
  const printed = [];
  const { log } = console;
  console.log = (...values) => printed.push(values);
  try {
    // It iterates until the clients are closed, after the tests.
    import(file);
    await until("the chat", () => printed.some(([, data]) => data?.text == "hello"));
    await until("the news", async () => {
      await node.publish("news", { title: "news" });
      return printed.some(([data]) => data?.title == "news");
    });
  } finally {
    console.log = log;
  }
});
