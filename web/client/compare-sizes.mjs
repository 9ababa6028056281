// Prints the sizes of other realtime clients beside this one's, as the README's table has them. Not a test: it installs packages.
//
//   node compare-sizes.mjs
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** What a page imports of each to connect and subscribe. */
const OTHERS = {
  partysocket: `export { default } from "partysocket"`,
  phoenix: `export { Socket } from "phoenix"`,
  "socket.io-client": `export { io } from "socket.io-client"`,
  "pusher-js": `export { default } from "pusher-js"`,
  centrifuge: `export { Centrifuge } from "centrifuge"`,
  ably: `export { Realtime } from "ably"`,
};

const directory = mkdtempSync(join(tmpdir(), "sizes-"));
try {
  execFileSync("npm", ["install", "--prefix", directory, "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", ...Object.keys(OTHERS)], { stdio: "inherit" });
  const kilobytes = (text) => (gzipSync(text, { level: 9 }).length / 1000).toFixed(1);
  console.log(`| package | version | KB |\n| --- | --- | --- |`);
  console.log(`| tidegate | | ${kilobytes(readFileSync(new URL("dist/index.js", import.meta.url)))} |`);
  for (const [name, code] of Object.entries(OTHERS)) {
    const entry = join(directory, "entry.js");
    writeFileSync(entry, code);
    const { outputFiles } = await build({ entryPoints: [entry], bundle: true, minify: true, format: "esm", target: "es2022", platform: "browser", write: false, logLevel: "error" });
    const { version } = JSON.parse(readFileSync(join(directory, "node_modules", name, "package.json"), "utf8"));
    console.log(`| ${name} | ${version} | ${kilobytes(outputFiles[0].contents)} |`);
  }
} finally {
  rmSync(directory, { recursive: true });
}
