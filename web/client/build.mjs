// Builds dist/ from src/: ES modules, and tidegate.js for a script tag. `node build.mjs DIRECTORY` writes elsewhere.
import { build } from "esbuild";

const outdir = process.argv[2] ?? new URL("dist/", import.meta.url).pathname;
const common = { bundle: true, minify: true, target: "es2022", absWorkingDir: new URL(".", import.meta.url).pathname, outdir };

// Each entry imports the core from beside it, so that a page loads it once.
await build({ ...common, entryPoints: ["src/index.ts"], format: "esm" });
await build({ ...common, entryPoints: ["src/shared.ts", "src/fallback.ts"], format: "esm", external: ["./index.js"] });
await build({ ...common, entryPoints: ["src/react.ts"], format: "esm", external: ["react"] });
await build({ ...common, entryPoints: ["src/shared-worker.ts"], format: "iife" });
// `tidegate.connect(…)` for pages without modules.
await build({ ...common, entryPoints: { tidegate: "src/index.ts" }, format: "iife", globalName: "tidegate" });
